//! Containers come and go without anything growing; `torture --cycles` does this thousands of times.

use tests::harness::Node;
use tests::torture::cycles::{self, Figures};

#[test]
fn nothing_grows_with_the_containers_that_come_and_go() -> anyhow::Result<()> {
    let node = Node::fence_only();
    let before = cycles::warmed_up(&node, 10, false)?;
    cycles::turn(&node, 60)?;
    let after: Figures = cycles::settled(&node, &before, false);
    println!("before: {before}\nafter: {after}");
    Ok(())
}
