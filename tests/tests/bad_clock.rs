//! A machine whose clock jumps by two days, forth and back: pauses and grace times go by the time since the boot, and what
//! happened stays in its order.
//!
//! The clock of a container cannot be set; libfaketime gives fence and kato one of their own that can, and leaves the
//! time since the boot as it is.

use serde_json::Value;
use tests::harness::{LIMIT, Machine, until};

type Story = anyhow::Result<()>;

/// What the clock of fence and the agent is ahead, read with every look at it.
const AHEAD: &str = "/etc/ahead";

/// Give fence and the agent a clock that can be set.
fn have_clock(machine: &Machine) -> String {
    let library = machine
        .run(&["sh", "-c", "ls /usr/lib/*/faketime/libfaketimeMT.so.1"])
        .ok();
    let library = library.trim().to_owned();
    set_clock(machine, "+0");
    let script = format!(
        "for unit in fence kato-agent; do
            mkdir -p /run/systemd/system/$unit.service.d
            printf '[Service]\\nEnvironment=LD_PRELOAD={library} FAKETIME_TIMESTAMP_FILE={AHEAD} \
             FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME_NO_CACHE=1\\n' >/run/systemd/system/$unit.service.d/clock.conf
        done
        systemctl daemon-reload
        systemctl restart kato-agent"
    );
    machine.run(&["sh", "-c", &script]).ok();
    machine.ready("agent");
    machine.kato(&["process", "restart", "fence"]).ok();
    library
}

fn set_clock(machine: &Machine, ahead: &str) {
    // Nobody may find it half written.
    let script = format!("echo {ahead} >{AHEAD}.new && mv {AHEAD}.new {AHEAD}");
    machine.run(&["sh", "-c", &script]).ok();
}

fn handles(machine: &Machine) -> Vec<String> {
    let list = machine.kato_json(&["container", "list"]);
    let all = list.as_array().cloned().unwrap_or_default();
    let handle = |container: &Value| container["handle"].as_str().map(str::to_owned);
    all.iter().filter_map(handle).collect()
}

/// How many days after this machine's own clock fence says that a container was made.
fn days_ahead(machine: &Machine, handle: &str) -> anyhow::Result<i64> {
    let info = machine.kato_json(&["container", "info", handle]);
    let created = info["created"].as_str().unwrap_or_default().to_owned();
    let script = format!("echo $(( $(date -d {created} +%s) - $(date +%s) ))");
    let seconds: f64 = machine.run(&["sh", "-c", &script]).ok().trim().parse()?;
    Ok((seconds / 86400.0).round() as i64)
}

#[test]
fn a_clock_that_jumps_destroys_nothing_early_and_holds_nothing_up() -> Story {
    let machine = Machine::micro("jumping-clock");
    let library = have_clock(&machine);
    let kept = [
        "container",
        "create",
        "--start",
        "--handle",
        "kept",
        "--grace-time",
        "1h",
    ];
    machine.kato(&kept).ok();
    let pids = (machine.ready("agent"), machine.ready("fence"));
    let before = [pids.0, pids.1].map(|pid| machine.busy(pid));

    for (max, (ahead, days)) in (101..).zip([("+2d", 2), ("-2d", -2), ("+0", 0)]) {
        set_clock(&machine, ahead);
        // Whose grace time begins now, and is to end.
        let short = ["container", "create", "--handle", "short", "--grace-time", "1s"];
        machine.kato(&short).ok();
        if days != 0 {
            let dated = format!("dated{ahead}");
            machine.kato(&["container", "create", "--handle", &dated]).ok();
            assert_eq!(days_ahead(&machine, &dated)?, days, "fence goes by that clock");
        }
        until("its grace time ends", LIMIT, || {
            (!handles(&machine).contains(&"short".to_owned())).then_some(())
        });
        let set = ["config", "set", "fence", "max_containers", &max.to_string()].map(str::to_owned);
        let (preload, clock) = (format!("LD_PRELOAD={library}"), format!("FAKETIME={ahead}"));
        let command: Vec<&str> = ["env", &preload, &clock, "kato"]
            .into_iter()
            .chain(set.iter().map(String::as_str))
            .collect();
        machine.run(&command).ok();
        until("fence follows the tree", LIMIT, || {
            let status = machine.kato_json(&["status"]);
            (status["nodes"][0]["containers"]["max"] == max).then_some(())
        });
        machine.kato(&["status"]).ok();
        let said = machine.kato(&["container", "run", "kept", "--", "echo", "well"]).ok();
        assert_eq!(said, "well\n");
        assert_eq!((machine.ready("agent"), machine.ready("fence")), pids);
    }
    for (pid, before) in [pids.0, pids.1].into_iter().zip(&before) {
        let after = machine.busy(pid);
        assert!(after.used_less_than_half_since(before), "{before:?} {after:?}");
    }
    let mut left = handles(&machine);
    left.sort();
    assert_eq!(left, ["dated+2d", "dated-2d", "kept"]);
    // The order of the changes is that of their revisions, whatever their dates say.
    let history = machine.kato(&["config", "history"]).ok();
    let at = |max: u32| history.find(&format!("-> {max}"));
    assert!(at(103) < at(102) && at(102) < at(101) && at(103).is_some(), "{history}");
    Ok(())
}
