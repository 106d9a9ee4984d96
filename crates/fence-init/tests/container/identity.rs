//! Who a process is and where it finds itself: user, groups, directory, environment, limits, and nothing inherited.

use fence_init::protocol::*;

use crate::container::*;
use crate::peer::*;

#[test]
fn a_user_has_its_ids_groups_home_and_environment() {
    let (container, mut fence) = Container::start();
    let home = container.path("homes/alice");
    let text = fence.run(
        "alice",
        "id -u; id -g; id -G; pwd; echo $USER $HOME $PATH; stat -c '%u:%g %a' .",
    );
    let home = home.display();
    assert_eq!(
        text,
        format!("1234\n1235\n1235 29 50\n{home}\nalice {home} /usr/local/bin:/usr/bin:/bin\n1234:1235 755\n")
    );
}

#[test]
fn root_is_the_default_and_bare_numbers_have_no_groups() {
    let (_container, mut fence) = Container::start();
    let shown = "id -u; id -G; pwd; echo $USER $HOME $PATH";
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(fence.run("", shown), format!("0\n0\n/root\nroot /root {path}\n"));
    assert_eq!(
        fence.run("4000:5000", shown),
        "4000\n5000\n/\n4000 / /usr/local/bin:/usr/bin:/bin\n"
    );
    assert_eq!(fence.run("alice:audio", "id -u; id -G"), "1234\n29\n");
}

#[test]
fn root_needs_no_accounts_and_others_do() {
    let (container, mut fence) = Container::start();
    std::fs::remove_file(container.path("etc/passwd")).unwrap();
    std::fs::remove_file(container.path("etc/group")).unwrap();
    assert_eq!(fence.run("", "id -u; pwd; echo $HOME"), "0\n/\n/\n");
    let refused = fence
        .try_spawn(SpawnSpec {
            user: "alice".into(),
            ..sh("x", "true")
        })
        .unwrap_err();
    assert_eq!(refused.kind, FailureKind::UserNotFound);
    assert_eq!(
        refused.message,
        "unable to find user alice: no matching entries in passwd file"
    );
    // Whatever lies in its place holds nothing up.
    nix::unistd::mkfifo(&container.path("etc/passwd"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(fence.run("", "id -u"), "0\n");
}

#[test]
fn a_missing_directory_is_made_for_the_user_with_roots_rights() {
    let (container, mut fence) = Container::start();
    let base = container.path("closed");
    std::fs::create_dir(&base).unwrap();
    let dir = base.join("a/b");
    let spec = SpawnSpec {
        dir: dir.to_str().unwrap().into(),
        user: "alice".into(),
        ..sh("dir", "pwd; stat -c '%u:%g %a' . ..")
    };
    let process = fence.spawn(spec);
    let text = fence.text(&process, Stream::Stdout);
    assert_eq!(text, format!("{}\n1234:1235 755\n1234:1235 755\n", dir.display()));
    let kept = std::fs::metadata(&base).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&kept), 0);
}

#[test]
fn the_environment_is_what_was_given_and_the_last_of_several_wins() {
    let (_container, mut fence) = Container::start();
    let env = ["A=1", "PATH=/bin:/usr/bin", "A=2", "USER=me", "EMPTY="]
        .map(String::from)
        .into();
    let process = fence.spawn(SpawnSpec {
        env,
        ..program("env", "env", &[])
    });
    let text = fence.text(&process, Stream::Stdout);
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["A=2", "EMPTY=", "HOME=/root", "PATH=/bin:/usr/bin", "USER=me"]);
}

#[test]
fn a_user_may_open_its_own_streams_by_name() {
    let (_container, mut fence) = Container::start();
    let process = fence.spawn(SpawnSpec {
        user: "alice".into(),
        ..sh("cat", "cat /dev/stdin > /dev/stdout")
    });
    fence.input(process.number, b"potato\n");
    fence.send(&ToInit::CloseInput {
        process: process.number,
    });
    assert_eq!(fence.text(&process, Stream::Stdout), "potato\n");
}

#[test]
fn limits_are_set_and_init_s_own_are_not_inherited() {
    let (_container, mut fence) = Container::start();
    let rlimits = vec![
        Rlimit {
            resource: Resource::Nofile,
            value: 77,
        },
        Rlimit {
            resource: Resource::Core,
            value: 4096,
        },
        Rlimit {
            resource: Resource::Stack,
            value: 1 << 20,
        },
    ];
    let shown = "ulimit -Sn; ulimit -Hn; ulimit -Sc; ulimit -Hs";
    let process = fence.spawn(SpawnSpec {
        rlimits,
        ..sh("limits", shown)
    });
    assert_eq!(fence.text(&process, Stream::Stdout), "77\n77\n8\n1024\n");
    let mine = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    assert_eq!(
        fence.run("", "ulimit -Sn; ulimit -Hn"),
        format!("{}\n{}\n", mine.0, mine.1)
    );
}

#[test]
fn nothing_of_init_is_inherited() {
    let (_container, mut fence) = Container::start();
    let before = fence.spawn(program("neighbour", "sleep", &["1000"]));
    assert!(before.pid > 1);
    let process = fence.spawn(program(
        "status",
        "grep",
        &["-E", "^(SigBlk|SigIgn|SigPnd)", "/proc/self/status"],
    ));
    let text = fence.text(&process, Stream::Stdout);
    let masks = text
        .lines()
        .filter_map(|line| u64::from_str_radix(line.split_whitespace().nth(1)?, 16).ok());
    let masks: Vec<u64> = masks.collect();
    // 32 and 33 are glibc's own and cannot be set; whoever runs the tests may ignore them.
    assert!(
        masks.len() == 3 && masks.iter().all(|mask| mask & !(0b11 << 31) == 0),
        "{text}"
    );
    // The last one is ls reading the folder.
    assert_eq!(fence.run("", "exec ls /proc/self/fd"), "0\n1\n2\n3\n");
    assert_eq!(
        fence
            .run("", "umask; ps -o sid= -p $$ | tr -d ' '; echo $$")
            .lines()
            .next(),
        Some("0022")
    );
    let (session, own) = (fence.run("", "ps -o sid=,pgid=,pid= -p $$"), 3);
    let ids: Vec<_> = session.split_whitespace().collect();
    assert_eq!(ids.len(), own);
    assert!(ids.iter().all(|id| *id == ids[0]), "{session}");
}

#[test]
fn processes_are_more_likely_to_be_killed_for_memory_than_init() {
    let (_container, mut fence) = Container::start();
    let scores = fence.run("alice", "cat /proc/1/oom_score_adj /proc/self/oom_score_adj");
    let scores: Vec<i32> = scores.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(scores[1], (scores[0] + 300).min(1000));
}

#[test]
fn init_has_its_name_and_keeps_its_secrets() {
    let (container, mut fence) = Container::start();
    assert_eq!(container.proc("comm"), "fence-init\n");
    // Owned by root although it might run as anybody: the kernel's sign of a process that cannot be traced.
    let text = fence.run("alice", "ls /proc/1/fd 2>&1 || cat /proc/1/environ 2>&1");
    assert!(text.contains("Permission denied"), "{text}");
}
