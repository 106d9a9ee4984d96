//! Processes on a terminal, and what the main connection takes.

use serde_json::json;
use tests::garden::{MainConnection, ProcessSpec};
use tests::harness::Node;

use super::{Checks, Story, said, web};

#[test]
fn terminals() -> Story {
    let node = Node::fence_only();
    let web = web(&node)?;
    let mut checks = Checks::default();
    for (size, expected) in [
        (None, "24 80"),
        (Some((132, 43)), "43 132"),
        (Some((0, 0)), "24 80"),
        (Some((100, 0)), "24 100"),
        (Some((0, 50)), "50 80"),
        (Some((9999, 9999)), "9999 9999"),
    ] {
        let found = said(&web, &ProcessSpec::new("stty", &["size"]).tty(size));
        checks.same(&format!("size {size:?}"), found, format!("{expected}\r\n"));
    }
    for (script, expected) in [
        ("printf 'a\\nb\\n'", "a\r\nb\r\n"),
        ("echo out; echo err >&2", "out\r\nerr\r\n"),
        ("test -t 0 && test -t 1 && test -t 2 && echo all", "all\r\n"),
        (
            "stty -a | tr ' ;' '\\n\\n' | grep -x -e opost -e onlcr -e echo -e icanon -e isig | sort",
            "echo\r\nicanon\r\nisig\r\nonlcr\r\nopost\r\n",
        ),
        ("tty >/dev/null && echo yes", "yes\r\n"),
    ] {
        for user in ["", "stackato"] {
            let found = said(&web, &ProcessSpec::script(script).user(user).tty(None));
            checks.same(&format!("{script:?} as {user:?}"), found, expected.into());
        }
    }
    let without = said(&web, &ProcessSpec::script("test -t 0 || test -t 1 || echo none"));
    checks.same("no terminal unless asked for", without, "none\n".into());
    checks.end(17);
    Ok(())
}

/// What is said on the main connection, and how the process ends by it.
#[test]
fn the_main_connection() -> Story {
    let node = Node::fence_only();
    let web = web(&node)?;
    let mut checks = Checks::default();
    let input = |data: &str| json!({ "process_id": "p", "source": 0, "data": data }).to_string() + "\n";
    let end = json!({ "process_id": "p", "source": 0 }).to_string() + "\n";
    let cases = [
        ("the end of input", "cat", end.clone(), 0),
        ("input, then its end", "read a; [ \"$a\" = x ]", input("x\n") + &end, 0),
        (
            "an empty piece is no end",
            "read a; [ \"$a\" = y ]",
            input("") + &input("y\n"),
            0,
        ),
        ("terminate", "exec sleep 1000", "{\"signal\":0}\n".into(), 143),
        ("kill", "exec sleep 1000", "{\"signal\":1}\n".into(), 137),
        (
            "kill after the end of input",
            "cat; exec sleep 1000",
            end.clone() + "{\"signal\":1}\n",
            137,
        ),
        ("keys in any case", "exec sleep 1000", "{\"SIGNAL\":1}\n".into(), 137),
        (
            "null is nothing",
            "exec sleep 1000",
            "{\"tty\":null,\"source\":null,\"data\":null,\"signal\":1}\n".into(),
            137,
        ),
        (
            "what is unknown is passed over",
            "exec sleep 1000",
            "{\"colour\":\"red\"} {\"signal\":1}".into(),
            137,
        ),
        (
            "a source comes before a signal",
            "cat; exit 4",
            "{\"source\":0,\"signal\":1}\n".into(),
            4,
        ),
        (
            "a size without a terminal is passed over",
            "exec sleep 1000",
            "{\"tty\":{\"window_size\":{\"columns\":9,\"rows\":9}}}\n{\"signal\":1}\n".into(),
            137,
        ),
        ("no line feed is needed", "cat; exit 5", end.trim().to_owned(), 5),
        (
            "objects without a space",
            "read a; exit 6",
            input("z\n").trim().to_owned() + end.trim(),
            6,
        ),
    ];
    for (rule, script, sent, status) in cases {
        let mut main = web
            .garden
            .open_run("web", &json!({ "path": "sh", "args": ["-c", script] }))?;
        let first = main.next_object()?.unwrap_or_default();
        checks.holds(
            rule,
            first["process_id"].is_string() && first["stream_id"].is_string(),
            || first.to_string(),
        );
        main.send_raw(sent.as_bytes())?;
        checks.same(rule, last(&mut main)?, Some(status));
        checks.same("nothing follows the end", main.next_object()?, None);
    }
    for streams in [&["stdout"][..], &["stderr"], &["stdout", "stderr"]] {
        let mut main = web
            .garden
            .open_run("web", &json!({ "path": "sh", "args": ["-c", "echo o; echo e >&2"] }))?;
        let first = main.next_object()?.unwrap_or_default();
        checks.same("it ends whatever is read of it", last(&mut main)?, Some(0));
        let (id, stream_id) = (
            first["process_id"].as_str().unwrap_or(""),
            first["stream_id"].as_str().unwrap_or(""),
        );
        for stream in streams {
            let all = web.garden.open_side("web", id, stream_id, stream)?.read_to_end()?;
            let expected = if *stream == "stdout" { b"o\n" } else { b"e\n" };
            checks.same(&format!("{stream} after the end"), all, expected.to_vec());
        }
        let unknown = web.garden.open_side("web", id, "nosuch", "stdout")?.read_to_end()?;
        checks.same("an unknown stream is empty", unknown, Vec::new());
    }
    checks.end(40);
    Ok(())
}

fn last(main: &mut MainConnection) -> anyhow::Result<Option<i64>> {
    Ok(main.next_object()?.and_then(|last| last["exit_status"].as_i64()))
}
