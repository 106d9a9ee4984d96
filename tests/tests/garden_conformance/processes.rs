//! What a process is and sees: user, groups, environment, directory, limits, exit.

use tests::garden::{ContainerSpec, ProcessSpec};
use tests::harness::Node;

use super::{Checks, Story, said, told, web};

const ACCOUNTS: &str = "\
    echo 'nogroup2:x:2001:' >> /etc/group; echo 'one:x:2002:web,other' >> /etc/group; echo 'two:x:2003:other,web' >> /etc/group; \
    echo 'odd line' >> /etc/group; echo 'web:x:1005:2001::/srv/web:/bin/sh' >> /etc/passwd; \
    echo 'homeless:x:1006:2001:::/bin/sh' >> /etc/passwd; echo 'odd:line' >> /etc/passwd; echo 'twin:x:1005:2002::/:/bin/sh' >> /etc/passwd";

#[test]
fn users_and_groups() -> Story {
    let node = Node::fence_only();
    let web = web(&node)?;
    let mut checks = Checks::default();
    web.shell(ACCOUNTS)?;
    for (user, ids, name, home) in [
        ("", "0 0 0", "root", "/root"),
        ("root", "0 0 0", "root", "/root"),
        ("web", "1005 2001 2001 2002 2003", "web", "/srv/web"),
        ("web:one", "1005 2002 2002", "web", "/srv/web"),
        ("web:2002", "1005 2002 2002", "web", "/srv/web"),
        ("web:77", "1005 77 77", "web", "/srv/web"),
        ("1005:2001", "1005 2001 2001", "web", "/srv/web"),
        ("4321:1234", "4321 1234 1234", "4321", "/"),
        ("0:0", "0 0 0", "root", "/root"),
        ("root:one", "0 2002 2002", "root", "/root"),
        ("homeless", "1006 2001 2001", "homeless", "/"),
        ("stackato", "1000 1000 1000", "stackato", "/home/stackato"),
    ] {
        let spec = ProcessSpec::script("echo $(id -u) $(id -g) $(id -G)").user(user);
        checks.same(&format!("ids of {user:?}"), said(&web, &spec), format!("{ids}\n"));
        let spec = ProcessSpec::script("echo $USER; echo $HOME; pwd").user(user);
        checks.same(
            &format!("names of {user:?}"),
            said(&web, &spec),
            format!("{name}\n{home}\n{home}\n"),
        );
        let spec = ProcessSpec::script("cat /dev/stdin >/dev/null </dev/null; echo seen > /dev/stdout").user(user);
        checks.same(
            &format!("streams of {user:?} by name"),
            said(&web, &spec),
            "seen\n".into(),
        );
    }
    for (user, message) in [
        (
            "nosuch",
            "unable to find user nosuch: no matching entries in passwd file",
        ),
        (
            "nosuch:one",
            "unable to find user nosuch: no matching entries in passwd file",
        ),
        (
            "web:nosuch",
            "unable to find group nosuch: no matching entries in group file",
        ),
        ("-1:0", "unable to find user -1"),
        ("4294967295:0", "unable to find user 4294967295"),
    ] {
        let (status, kind, text) = told(web.run(&ProcessSpec::new("true", &[]).user(user)));
        checks.same(
            &format!("{user:?} is an untyped error"),
            (status, kind.as_str()),
            (500, ""),
        );
        checks.has(&format!("{user:?} is told"), &text, message);
    }
    web.shell("mv /etc/passwd /etc/passwd-; mv /etc/group /etc/group-")?;
    let spec = ProcessSpec::script("echo $(/bin/busybox id -u) $HOME $USER");
    checks.same("root without a passwd file", said(&web, &spec), "0 / root\n".into());
    let (_, _, text) = told(web.run(&ProcessSpec::new("true", &[]).user("web")));
    checks.has("others without one", &text, "unable to find user web");
    checks.end(48);
    Ok(())
}

#[test]
fn environment_and_directories() -> Story {
    let node = Node::fence_only();
    let env = |all: &[&str]| all.iter().map(|entry| (*entry).to_owned()).collect::<Vec<_>>();
    let web = node.container(&ContainerSpec {
        handle: "web".into(),
        env: env(&["A=container", "B=container", "TWICE=1", "TWICE=2", "LONG_NAME_1=x"]),
        ..ContainerSpec::default()
    })?;
    let mut checks = Checks::default();
    for (given, shown, expected) in [
        (&[][..], "$A $B", "container container"),
        (&["B=process"], "$A $B", "container process"),
        (&["C=1", "C=2"], "$C", "2"),
        (&[], "$TWICE", "2"),
        (&["TWICE="], "[$TWICE]", "[]"),
        (&["E=a=b=c"], "$E", "a=b=c"),
        (&["S=  a  b "], "\"$S\"", "  a  b "),
        (&["U=\u{2602}"], "$U", "\u{2602}"),
        (&["USER=me"], "$USER", "me"),
        (&["HOME=/tmp"], "$HOME", "/tmp"),
        (&["PATH=/bin:/usr/bin:/x"], "$PATH", "/bin:/usr/bin:/x"),
        (
            &[],
            "$PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ),
        (&[], "$LONG_NAME_1", "x"),
        (&[], "${HOSTNAME_OF_ENV-none}", "none"),
    ] {
        let spec = ProcessSpec {
            env: env(given),
            ..ProcessSpec::script(&format!("echo {shown}"))
        };
        checks.same(
            &format!("{shown} with {given:?}"),
            said(&web, &spec),
            format!("{expected}\n"),
        );
    }
    let all = said(&web, &ProcessSpec::new("env", &[]));
    checks.holds("no HOSTNAME is set", !all.contains("HOSTNAME="), || all.clone());
    for (dir, user, expected) in [
        ("", "", "/root root"),
        ("", "stackato", "/home/stackato stackato"),
        ("/tmp", "stackato", "/tmp root"),
        ("/new/place", "stackato", "/new/place stackato"),
        ("/root/for/them", "9:9", "refused"),
        ("relative/place", "", "/relative/place root"),
        ("/opt//odd/./way/../here", "stackato", "/opt/odd/here stackato"),
    ] {
        let spec = ProcessSpec {
            dir: dir.into(),
            ..ProcessSpec::script("echo $(pwd -P) $(stat -c %U .)").user(user)
        };
        let found = said(&web, &spec);
        let rule = format!("{dir:?} as {user:?}");
        match expected {
            // With the container's root's rights, whatever the process may then see of it.
            "refused" => checks.same(
                &rule,
                said(&web, &ProcessSpec::script("stat -c '%u:%g %a' /root/for/them")),
                "9:9 755\n".into(),
            ),
            _ => checks.same(&rule, found, format!("{expected}\n")),
        }
    }
    web.shell("echo file > /a-file")?;
    let in_file = ProcessSpec {
        dir: "/a-file".into(),
        ..ProcessSpec::new("true", &[])
    };
    let (status, kind, message) = told(web.run(&in_file));
    checks.same("a file for a directory", (status, kind.as_str()), (500, ""));
    checks.has("a file for a directory is named", &message, "/a-file");
    checks.end(23);
    Ok(())
}

#[test]
fn limits_and_exits() -> Story {
    let node = Node::fence_only();
    let web = web(&node)?;
    let mut checks = Checks::default();
    for (name, row, value, shown) in [
        ("as", "Max address space", 1 << 30, "1073741824"),
        ("core", "Max core file size", 0, "0"),
        ("cpu", "Max cpu time", 100, "100"),
        ("data", "Max data size", 1 << 29, "536870912"),
        ("fsize", "Max file size", 1 << 20, "1048576"),
        ("locks", "Max file locks", 10, "10"),
        ("memlock", "Max locked memory", 4096, "4096"),
        ("msgqueue", "Max msgqueue size", 8192, "8192"),
        ("nice", "Max nice priority", 0, "0"),
        ("nofile", "Max open files", 123, "123"),
        ("nproc", "Max processes", 1000, "1000"),
        ("rss", "Max resident set", 1 << 28, "268435456"),
        ("rtprio", "Max realtime priority", 0, "0"),
        ("sigpending", "Max pending signals", 50, "50"),
        ("stack", "Max stack size", 1 << 22, "4194304"),
    ] {
        let mut spec = ProcessSpec::script(&format!("grep '{row}' /proc/self/limits"));
        spec.rlimits.insert(name.into(), value);
        let found = said(&web, &spec);
        let found: Vec<&str> = found.trim_start_matches(row).split_whitespace().take(2).collect();
        checks.same(&format!("{name} is soft and hard"), found, vec![shown, shown]);
    }
    for (script, status) in [
        ("exit 0", 0),
        ("exit 1", 1),
        ("exit 255", 255),
        ("exit 256", 0),
        ("kill -TERM $$", 143),
        ("kill -KILL $$", 137),
        ("kill -HUP $$", 129),
        ("kill -SEGV $$", 139),
        ("kill -34 $$", 162),
    ] {
        let found = web.output(&ProcessSpec::script(script)).map(|(status, ..)| status);
        checks.same(script, found.ok(), Some(status));
    }
    for (path, kind, message) in [
        (
            "nosuch",
            "ExecutableNotFoundError",
            "executable file not found in $PATH",
        ),
        ("/no/such", "ExecutableNotFoundError", "no such file or directory"),
        ("./nosuch", "ExecutableNotFoundError", "no such file or directory"),
        ("/etc/passwd", "", "permission denied"),
        ("/etc", "", "is a directory"),
        ("", "", "it names no program"),
    ] {
        let (status, found, text) = told(web.run(&ProcessSpec::new(path, &[])));
        checks.same(
            &format!("{path:?} is told by type"),
            (status, found.as_str()),
            (500, kind),
        );
        checks.has(&format!("{path:?} is told in words"), &text, message);
    }
    for (args, expected) in [
        (&["a b", "", "c"][..], "3:a b,,c,"),
        (&["$HOME", "*"], "2:$HOME,*,"),
        (&["\u{fc}", "\n"], "2:\u{fc},\n,"),
        (&[], "0:"),
    ] {
        let mut all = vec!["-c", "printf '%s:' $#; [ $# = 0 ] || printf '%s,' \"$@\"", "sh"];
        all.extend(args);
        checks.same(
            &format!("arguments {args:?}"),
            said(&web, &ProcessSpec::new("sh", &all)),
            expected.into(),
        );
    }
    checks.end(40);
    Ok(())
}
