//! Images that nobody uses: they go when the disk is full, and when they are old; what is used, configured or foreign stays.

use std::time::Duration;

use serde_json::Value;
use tests::harness::{Cluster, LIMIT, Machine, base_image, until};

type Story = anyhow::Result<()>;

/// What every image of these stories begins with.
const GOOD: &str = "CMD [\"sleep\", \"1000000\"]";
/// How long housekeeping has: it looks once in a minute.
const ROUNDS: Duration = Duration::from_secs(200);
/// In MiB: the disk of the node's Docker, and what a large image takes of it.
const DISK: u32 = 800;
const LARGE: u64 = 40;

fn has(machine: &Machine, image: &str) -> bool {
    machine.run(&["docker", "image", "inspect", image]).code == 0
}

/// How much of the disk of the node's Docker is taken, in bytes, as the node tells the cluster.
fn taken(core: &Machine) -> u64 {
    let listed: Value = core.kato_json(&["image", "list", "--nodes", "-n", "dea1"]);
    let of = |what: &str| listed[0]["disk"][what].as_u64().unwrap_or_default();
    of("size") - of("free")
}

/// How the node's images are used, as the cluster is told.
#[track_caller]
fn are_listed(core: &Machine, expected: &[(&str, &str)]) {
    let is_so = |listed: &str, name: &str, usage: &str| {
        let mut lines = listed.lines().filter(|line| line.contains("dea1"));
        match usage {
            "gone" => !lines.any(|line| line.contains(name)),
            usage => lines.any(|line| line.contains(name) && line.trim_end().ends_with(usage)),
        }
    };
    until(&format!("the node tells {expected:?}"), LIMIT * 2, || {
        let listed = core.kato(&["image", "list", "--nodes"]).ok();
        let all = expected.iter().all(|(name, usage)| is_so(&listed, name, usage));
        all.then_some(())
    });
}

#[test]
fn what_nobody_uses_goes_from_a_full_disk_and_with_age_and_what_is_foreign_stays() -> Story {
    let cluster = Cluster::with_registry();
    let Cluster { core, one, .. } = &cluster;
    one.have_small_disk(DISK);
    let pulled = |name: &str, lines: &str| {
        let name = cluster.publish(name, &format!("LABEL v={name}\n{lines}\n{GOOD}"));
        core.kato(&["image", "pull", &name, "-n", "dea1"]).ok();
        name
    };
    let large = format!("RUN head -c {}m /dev/urandom >/large", LARGE);
    let [first, second] = ["large:1", "large:2"].map(|name| pulled(name, &large));
    let old = ["old:1", "old:2", "old:3"].map(|name| pulled(name, ""));
    // Used by a container that fence knows nothing of; and one that somebody pulled themselves.
    one.run(&["docker", "run", "-d", "--name", "foreign", &old[0]]).ok();
    let foreign = cluster.publish("foreign:1", &format!("LABEL v=foreign\n{GOOD}"));
    one.run(&["docker", "pull", &foreign]).ok();
    let stays = || {
        assert!(has(one, &old[0]), "a container uses it");
        assert!(has(one, &foreign), "it is not the cluster's");
        assert!(has(one, &base_image()), "it is configured");
    };
    let used = [
        (old[0].as_str(), "used"),
        (foreign.as_str(), "not the cluster's"),
        ("fence/base", "configured"),
    ];
    let unused = [&first, &second, &old[1], &old[2]].map(|name| (name.as_str(), "unused"));
    are_listed(core, &[used.as_slice(), &unused].concat());

    // A disk that is too full by less than a large image takes: the longest unused one goes, and that is enough.
    let percent = 30;
    let allowed = u64::from(DISK) * percent / 100;
    let fill = allowed + LARGE / 2 - (taken(core) >> 20);
    let filled = "/var/lib/docker/filled";
    one.run(&["fallocate", "-l", &format!("{fill}M"), filled]).ok();
    let percent = percent.to_string();
    core.kato(&["config", "set", "fence", "images/disk_percent", &percent])
        .ok();
    until("there is room again", ROUNDS, || (!has(one, &first)).then_some(()));
    assert!(
        has(one, &second) && has(one, &old[1]) && has(one, &old[2]),
        "no more than is needed"
    );
    stays();
    are_listed(
        core,
        &[
            used.as_slice(),
            &[(first.as_str(), "gone"), (second.as_str(), "unused")],
        ]
        .concat(),
    );
    assert!(taken(core) >> 20 <= allowed, "{} of {allowed} MiB", taken(core) >> 20);

    core.kato(&["config", "set", "fence", "images/keep", "0"]).ok();
    core.kato(&["config", "set", "fence", "images/min_age", "1"]).ok();
    until("what nobody uses is gone", ROUNDS, || {
        (![&second, &old[1], &old[2]].iter().any(|name| has(one, name))).then_some(())
    });
    stays();
    are_listed(
        core,
        &[used.as_slice(), &[("old:2", "gone"), ("large:2", "gone")]].concat(),
    );
    Ok(())
}
