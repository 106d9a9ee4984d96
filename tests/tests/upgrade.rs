//! One version after another on a node whose containers run all the while, and back by one. The version before is built
//! from its sources by tests/earlier/build.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use tempfile::TempDir;
use tests::garden::{ContainerSpec, PortMapping, ProcessSpec, Signal};
use tests::harness::{ContainerOf, LIMIT, Node, is_alive, program, until};

type Story = anyhow::Result<()>;

/// Which programs are installed.
#[derive(Clone, Copy)]
enum Version {
    Before,
    This,
}

/// A node without an agent, whose programs are replaced.
struct Upgraded {
    node: Node,
    programs: Programs,
}

/// What stands for the folder of the installed programs.
struct Programs {
    folder: TempDir,
}

impl Programs {
    fn new(version: Version) -> anyhow::Result<Programs> {
        let folder = TempDir::with_prefix("fence-programs-")?;
        let programs = Programs { folder };
        programs.install(version)?;
        Ok(programs)
    }

    fn fence(&self) -> PathBuf {
        self.folder.path().join("fence")
    }

    /// Replace what is there, as an installation does: never in place.
    fn install(&self, version: Version) -> anyhow::Result<()> {
        let (fence, init) = match version {
            Version::Before => (before("fence")?, before("fence-init")?),
            Version::This => {
                let init = std::env::var_os("FENCE_INIT").context("FENCE_INIT says where fence-init is")?;
                (program("fence"), PathBuf::from(init))
            }
        };
        let script = format!(
            "#!/bin/sh\nFENCE_INIT='{}' exec '{}' \"$@\"\n",
            init.display(),
            fence.display()
        );
        let fresh = self.folder.path().join("fence.new");
        fs::write(&fresh, script)?;
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755))?;
        Ok(fs::rename(fresh, self.fence())?)
    }
}

/// A program of the version before.
fn before(name: &str) -> anyhow::Result<PathBuf> {
    let path = program("fence")
        .parent()
        .context("programs are in a folder")?
        .with_file_name("earlier")
        .join(name);
    ensure!(path.is_file(), "there is no {}: tests/earlier/build", path.display());
    Ok(path)
}

impl Upgraded {
    fn new(version: Version) -> anyhow::Result<Upgraded> {
        let programs = Programs::new(version)?;
        let node = Node::with_program(programs.fence());
        Ok(Upgraded { node, programs })
    }

    /// Stop the daemon and start that of another version.
    fn change_to(&self, version: Version) -> Story {
        ensure!(self.node.stop_fence() == 0, "fence did not end well");
        self.programs.install(version)?;
        self.node.start_fence();
        Ok(())
    }

    fn container(&self, handle: &str) -> anyhow::Result<ContainerOf> {
        Ok(self.node.container(&ContainerSpec {
            handle: handle.into(),
            env: vec!["A=b".into()],
            properties: [("owner".to_owned(), "ann".to_owned())].into(),
            netin: vec![PortMapping {
                host_port: 0,
                container_port: 8080,
            }],
            ..ContainerSpec::default()
        })?)
    }

    /// The init that the container runs.
    fn init_of(&self, handle: &str) -> anyhow::Result<Vec<u8>> {
        let pid = self.node.first_pid(handle);
        Ok(fs::read(format!("/proc/{pid}/root/.fence/bin/fence-init"))?)
    }
}

fn job(id: &str, script: &str) -> ProcessSpec {
    ProcessSpec {
        id: id.into(),
        ..ProcessSpec::script(script)
    }
}

/// Says something, waits for a word, says more and ends with 7.
const TALK: &str = "echo begun; read word; echo got $word; seq 1 1000; exit 7";

/// Everything that a client may want of a container, whoever made it and whichever init it has.
fn works(node: &Node, container: &ContainerOf) -> Story {
    let (garden, handle) = (&container.garden, container.handle.as_str());
    ensure!(container.shell("echo $A")? == "b\n");
    ensure!(container.output(&ProcessSpec::script("echo err >&2; exit 5"))? == (5, String::new(), "err\n".into()));
    let fed = container.run(&ProcessSpec::new("cat", &[]))?;
    fed.write("word\n")?;
    fed.close_stdin()?;
    ensure!(fed.wait()? == 0 && fed.stdout.text() == "word\n");
    let told = container.run(&ProcessSpec::script(
        "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done",
    ))?;
    told.stdout.wait_for("ready", LIMIT)?;
    told.signal(Signal::Terminate)?;
    ensure!(told.wait()? == 9);
    let terminal = container.run(&ProcessSpec::script("stty size; exit 2").tty(Some((100, 30))))?;
    ensure!(terminal.wait()? == 2 && terminal.stdout.text().contains("30 100"));
    // kato numbers its input and acknowledges output, where the init of the container knows how.
    let lines: String = (0..20_000).map(|number| format!("{number}\n")).collect();
    let fed = node.kato_with_input(
        &["container", "run", handle, "--", "sh", "-c", "cat; exit 4"],
        lines.as_bytes(),
    );
    ensure!(fed.expect_code(4).out() == lines);
    let info = garden.info(handle)?;
    ensure!(info.state == "active" && info.mapped_ports.is_some_and(|ports| ports.len() == 1));
    ensure!(garden.property(handle, "owner")? == "ann");
    Ok(())
}

/// Leave a process behind that waits, and one that ends without anybody reading it. `name` names the first; an id is
/// in use until a while after its process has ended.
fn leave_behind(upgraded: &Upgraded, container: &ContainerOf, name: &str) -> anyhow::Result<i32> {
    let talk = container.run(&job(name, TALK))?;
    talk.stdout.wait_for("begun\n", LIMIT)?;
    container.run(&job(
        &format!("quiet-{name}"),
        "mkdir /tmp/go; while [ -d /tmp/go ]; do sleep 0.02; done; echo unread; exit 6",
    ))?;
    let shells = upgraded.node.pids_named(&container.handle, "sh");
    until("the folder is there", LIMIT, || {
        let folder = format!("/proc/{}/root/tmp/go", shells[0]);
        Path::new(&folder).exists().then_some(())
    });
    Ok(shells[0])
}

/// What was left behind goes on where it was.
fn goes_on(container: &ContainerOf, name: &str) -> Story {
    container.shell("rmdir /tmp/go")?;
    let quiet = container.garden.attach(&container.handle, &format!("quiet-{name}"))?;
    ensure!(quiet.wait()? == 6 && quiet.stdout.text() == "unread\n");
    let talk = container.garden.attach(&container.handle, name)?;
    talk.write("word\n")?;
    ensure!(talk.wait()? == 7);
    let numbers: String = (1..=1000).map(|number| format!("{number}\n")).collect();
    ensure!(talk.stdout.text().ends_with(&format!("got word\n{numbers}")));
    Ok(())
}

#[test]
fn containers_of_the_version_before_go_on() -> Story {
    let upgraded = Upgraded::new(Version::Before)?;
    let node = &upgraded.node;
    let old = upgraded.container("old")?;
    works(node, &old)?;
    let shell = leave_behind(&upgraded, &old, "talk")?;
    let (first, init) = (node.first_pid("old"), upgraded.init_of("old")?);

    upgraded.change_to(Version::This)?;
    assert!(is_alive(shell));
    assert_eq!(node.first_pid("old"), first);
    assert_eq!(upgraded.init_of("old")?, init, "a container keeps its init");
    goes_on(&old, "talk")?;
    works(node, &old)?;
    let new = upgraded.container("new")?;
    works(node, &new)?;
    assert_ne!(upgraded.init_of("new")?, init, "a new container gets the new init");

    leave_behind(&upgraded, &old, "again")?;
    node.kill_fence();
    node.start_fence();
    goes_on(&old, "again")?;
    old.garden.stop("old", false)?;
    old.garden.destroy("old")?;
    assert_eq!(node.containers_in_docker().len(), 1);
    Ok(())
}

#[test]
fn the_version_before_takes_over_from_this_one() -> Story {
    let upgraded = Upgraded::new(Version::This)?;
    let node = &upgraded.node;
    let (kept, destroyed) = (upgraded.container("kept")?, upgraded.container("destroyed")?);
    works(node, &kept)?;
    leave_behind(&upgraded, &kept, "talk")?;
    let first = node.first_pid("kept");

    upgraded.change_to(Version::Before)?;
    goes_on(&kept, "talk")?;
    works(node, &kept)?;
    kept.garden.set_property("kept", "note", "made by the version before")?;
    destroyed.garden.destroy("destroyed")?;
    let meanwhile = upgraded.container("meanwhile")?;

    upgraded.change_to(Version::This)?;
    assert_eq!(node.first_pid("kept"), first);
    assert_eq!(kept.garden.property("kept", "note")?, "made by the version before");
    assert_eq!(kept.garden.list(&[])?.len(), 2, "what was destroyed stays so");
    works(node, &kept)?;
    works(node, &meanwhile)?;
    for container in [kept, meanwhile] {
        container.garden.destroy(&container.handle)?;
    }
    assert_eq!(node.containers_in_docker(), Vec::<String>::new());
    Ok(())
}

/// Where SQLite keeps the number of the format, the highest byte first.
const FORMAT_AT: u64 = 60;

#[test]
fn an_inventory_of_a_later_format_is_refused_and_nothing_is_touched() -> Story {
    let node = Node::fence_only();
    let web = node.container(&ContainerSpec {
        handle: "web".into(),
        ..ContainerSpec::default()
    })?;
    let first = node.first_pid("web");
    assert_eq!(node.stop_fence(), 0);
    let path = node.root().join("var/lib/fence/inventory.db");
    // What the log holds goes before what the file says.
    let (log, aside) = (path.with_extension("db-wal"), path.with_extension("db-wal-aside"));
    let has_log = log.exists();
    if has_log {
        fs::rename(&log, &aside)?;
    }
    let file = fs::File::options().read(true).write(true).open(&path)?;
    let mut format = [0; 4];
    file.read_exact_at(&mut format, FORMAT_AT)?;
    file.write_all_at(&99_u32.to_be_bytes(), FORMAT_AT)?;
    let before = fs::read(&path)?;

    node.spawn_fence();
    let ended = until("fence ends", LIMIT, || node.fence_ended());
    assert!(!ended.success());
    let said: String = node.logs().into_values().collect();
    assert!(said.contains("has format 99, this fence knows up to"), "{said}");
    assert_eq!(fs::read(&path)?, before, "the inventory is as it was");
    assert!(is_alive(first), "the container runs on");

    file.write_all_at(&format, FORMAT_AT)?;
    if has_log {
        fs::rename(&aside, &log)?;
    }
    node.start_fence();
    assert_eq!(node.first_pid("web"), first);
    assert_eq!(web.shell("echo here")?, "here\n");
    Ok(())
}
