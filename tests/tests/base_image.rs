//! The base image and its start.sh: the order of hooks, what a failing one does, and what an app finds inside.
//!
//! Builds the image by its recipe and runs it with Docker alone; fence has no part in these stories. Each test makes
//! its own app folder and hooks folder and mounts them where start.sh looks for them.
#![allow(clippy::unwrap_used, reason = "tests: what fails is to panic")]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use tests::harness::docker::docker;
use tests::harness::{Captured, LIMIT, base_image, derived_image, until};

/// An app and the administrator's hooks, on the host.
struct App {
    dir: TempDir,
}

impl App {
    fn new() -> Self {
        let app = App {
            dir: tempfile::tempdir().unwrap(),
        };
        // Docker mounts them, but the user stackato must get through.
        for folder in ["", "app/.stackato/hooks", "hooks"] {
            fs::create_dir_all(app.path(folder)).unwrap();
            fs::set_permissions(app.path(folder), fs::Permissions::from_mode(0o755)).unwrap();
        }
        app
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    fn file(self, below: &str, text: &str) -> Self {
        fs::write(self.path(below), text).unwrap();
        self
    }

    fn executable(self, below: &str, script: &str) -> Self {
        let app = self.file(below, &format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(app.path(below), fs::Permissions::from_mode(0o755)).unwrap();
        app
    }

    fn user_hook(self, name: &str, script: &str) -> Self {
        self.executable(&format!("app/.stackato/hooks/{name}"), script)
    }

    fn admin_hook(self, name: &str, script: &str) -> Self {
        self.executable(&format!("hooks/{name}"), script)
    }

    /// Runs `start.sh ARGS` in a new container, to its end.
    fn start_sh(&self, args: &[&str], env: &[&str]) -> Captured {
        let app = format!("{}:/home/stackato/app", self.path("app").display());
        let hooks = format!("{}:/etc/stackato/hooks:ro", self.path("hooks").display());
        let mut command = vec!["run", "--rm", "--network=none", "-v", &app, "-v", &hooks];
        command.extend(env.iter().flat_map(|pair| ["-e", pair]));
        let image = base_image();
        command.extend([image.as_str(), "start.sh"]);
        command.extend(args);
        docker(&command)
    }
}

#[test]
fn staging_runs_the_users_hook_before_the_administrators_around_the_command() {
    let mut app = App::new().file("app/Procfile", "web: echo web\nstage: echo staging\n");
    for phase in ["pre-staging", "post-staging", "pre-running"] {
        app = app
            .admin_hook(phase, &format!("echo admin {phase}"))
            .user_hook(phase, &format!("echo user {phase}"));
    }
    assert_eq!(
        app.start_sh(&["stage"], &[]).ok(),
        "user pre-staging\nadmin pre-staging\nstaging\nuser post-staging\nadmin post-staging\n"
    );
    assert_eq!(
        app.start_sh(&[], &[]).ok(),
        "user pre-running\nadmin pre-running\nweb\n"
    );
}

#[test]
fn a_failing_hook_ends_the_phase_with_its_status() {
    let app = App::new()
        .user_hook("pre-staging", "exit 7")
        .admin_hook("pre-staging", "echo never")
        .user_hook("pre-running", "echo user")
        .admin_hook("pre-running", "exit 9")
        .file("app/Procfile", "web: echo never\nstage: echo never\n");
    let staged = app.start_sh(&["stage"], &[]).expect_code(7);
    assert_eq!(staged.out(), "");
    assert!(staged.err().contains("hooks/pre-staging failed"), "{}", staged.err());
    assert_eq!(app.start_sh(&["run"], &[]).expect_code(9).out(), "user\n");
}

#[test]
fn a_failing_staging_command_skips_the_hooks_after_it() {
    let app = App::new().admin_hook("post-staging", "echo never");
    let staged = app
        .start_sh(&["stage"], &["STACKATO_STAGE_COMMAND=echo half; exit 5"])
        .expect_code(5);
    assert_eq!(staged.out(), "half\n");
}

#[test]
fn a_users_hook_with_a_dash_may_fail() {
    let app = App::new()
        .user_hook("-pre-running", "echo user; exit 3")
        .admin_hook("pre-running", "echo admin")
        .file("app/Procfile", "web: echo app\n");
    let ran = app.start_sh(&["run"], &[]).expect_code(0);
    assert_eq!(ran.out(), "user\nadmin\napp\n");
    assert!(ran.err().contains("failed with status 3"), "{}", ran.err());
}

#[test]
fn a_hook_that_is_not_executable_is_refused() {
    let app = App::new()
        .file("hooks/pre-running", "#!/bin/sh\n")
        .file("app/Procfile", "web: echo never\n");
    let ran = app.start_sh(&["run"], &[]).expect_code(126);
    assert_eq!(ran.out(), "");
    assert!(
        ran.err().contains("/etc/stackato/hooks/pre-running is not executable"),
        "{}",
        ran.err()
    );
}

#[test]
fn hooks_and_commands_run_as_stackato_in_the_apps_folder_with_a_port() {
    let show = "echo $(id -u):$(id -g) $(id -un) $HOME $PWD $PORT";
    let app = App::new()
        .admin_hook("pre-running", show)
        .file("app/Procfile", &format!("web: {show}\n"));
    let line = "1000:1000 stackato /home/stackato /home/stackato/app";
    assert_eq!(app.start_sh(&[], &[]).ok(), format!("{line} 8080\n{line} 8080\n"));
    assert_eq!(
        app.start_sh(&[], &["PORT=9000"]).ok(),
        format!("{line} 9000\n{line} 9000\n")
    );
}

#[test]
fn what_start_sh_cannot_do_it_says() {
    let app = App::new().file("app/main.py", "");
    let ran = app.start_sh(&["run"], &[]).expect_code(1);
    assert!(ran.err().contains("no start command"), "{}", ran.err());
    let ran = app.start_sh(&["fly"], &[]).expect_code(2);
    assert!(ran.err().contains("usage: start.sh [stage|run]"), "{}", ran.err());
}

/// A container that is removed when the test ends, however it ends.
struct Running(String);

impl Drop for Running {
    fn drop(&mut self) {
        docker(&["rm", "--force", &self.0]);
    }
}

/// One GET over a new connection: all that the server sent, or nothing while it does not answer.
fn get(address: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    (!answer.is_empty()).then_some(answer)
}

#[test]
fn a_container_without_an_app_serves_a_page_with_its_name() {
    let image = base_image();
    let name = format!("base-image-{}", uuid::Uuid::new_v4().simple());
    let options = [
        "run",
        "-d",
        "--hostname",
        &name,
        "-e",
        "PORT=8099",
        "-p",
        "127.0.0.1::8099",
        &image,
    ];
    let container = Running(docker(&options).ok().trim().to_owned());
    let address = docker(&["port", &container.0, "8099"]).ok();
    let answer = until("the container's page", LIMIT, || get(address.trim()));
    assert!(answer.contains(" 200 OK\r\n"), "{answer}");
    assert!(answer.contains(&name), "{answer}");
}

/// A derived image as administrators make one: its RUN lines need root.
#[test]
fn an_image_built_from_it_may_change_the_system_and_bring_hooks() {
    let image = derived_image(
        "RUN echo 1.0.0 > /etc/newimg && echo 'cat /etc/newimg' > /etc/stackato/hooks/pre-running \\\n \
         && chmod +x /etc/stackato/hooks/pre-running\nCMD [\"start.sh\"]",
    );
    let printed = docker(&["run", "--rm", "-e", "STACKATO_START_COMMAND=id -un", &image.name]).ok();
    assert_eq!(printed, "1.0.0\nstackato\n");
}

#[test]
fn the_image_has_what_apps_rely_on() {
    let image = base_image();
    let format = "{{json .Config.Cmd}} {{json .Config.Entrypoint}}";
    assert_eq!(
        docker(&["image", "inspect", "-f", format, &image]).ok(),
        "[\"start.sh\"] null\n"
    );
    let script = "stat -c '%U %a %n' /tmp /home/stackato /home/stackato/app /etc/stackato/hooks && command -v start.sh";
    assert_eq!(
        docker(&["run", "--rm", &image, "sh", "-c", script]).ok(),
        "root 1777 /tmp\nstackato 755 /home/stackato\nstackato 755 /home/stackato/app\n\
         root 755 /etc/stackato/hooks\n/usr/bin/start.sh\n"
    );
}
