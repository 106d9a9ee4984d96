//! Garden: what containers use, one by one and many at a time, and what they are in one answer.

use std::time::Duration;

use serde_json::{Value, json};
use tests::garden::{ContainerSpec, Limits, MemoryLimits, PidLimits, ProcessSpec};
use tests::harness::{ContainerOf, LIMIT, Node, until};

type Story = anyhow::Result<()>;

const MIB: u64 = 1024 * 1024;

fn container(node: &Node, handle: &str) -> anyhow::Result<ContainerOf> {
    let limits = Limits {
        memory_limits: MemoryLimits {
            limit_in_bytes: 256 * MIB,
        },
        pid_limits: PidLimits { max: 64 },
        ..Limits::default()
    };
    Ok(node.container(&ContainerSpec {
        handle: handle.into(),
        limits,
        ..ContainerSpec::default()
    })?)
}

fn metrics(web: &ContainerOf) -> anyhow::Result<Value> {
    Ok(web
        .garden
        .call("GET", &format!("/containers/{}/metrics", web.handle), None)?)
}

/// A number at a place such as `CPUStat/Usage`.
#[track_caller]
fn number(metrics: &Value, place: &str) -> u64 {
    let found = metrics.pointer(&format!("/{place}"));
    found
        .and_then(Value::as_u64)
        .unwrap_or_else(|| panic!("no number {place} in {metrics:#}"))
}

/// Wait until the number at that place is so.
#[track_caller]
fn until_number(web: &ContainerOf, place: &str, is_so: impl Fn(u64) -> bool) -> u64 {
    until(place, LIMIT, || {
        let number = number(&metrics(web).ok()?, place);
        is_so(number).then_some(number)
    })
}

#[test]
fn every_member_of_the_metrics_is_there() -> Story {
    let node = Node::fence_only();
    let web = container(&node, "web")?;
    let found = metrics(&web)?;
    let memory = "active_anon active_file cache hierarchical_memory_limit inactive_anon inactive_file mapped_file pgfault \
        pgmajfault pgpgin pgpgout rss total_active_anon total_active_file total_cache total_inactive_anon \
        total_inactive_file total_mapped_file total_pgfault total_pgmajfault total_pgpgin total_pgpgout total_rss \
        total_unevictable unevictable swap hierarchical_memsw_limit total_swap anon file swapcached TotalUsageTowardLimit";
    for member in memory.split_whitespace() {
        number(&found, &format!("MemoryStat/{member}"));
    }
    for member in [
        "CPUStat/Usage",
        "CPUStat/User",
        "CPUStat/System",
        "DiskStat/TotalBytesUsed",
        "DiskStat/TotalInodesUsed",
        "DiskStat/ExclusiveBytesUsed",
        "DiskStat/ExclusiveInodesUsed",
        "NetworkStat/RxBytes",
        "NetworkStat/TxBytes",
    ] {
        number(&found, member);
    }
    assert_eq!(number(&found, "MemoryStat/hierarchical_memory_limit"), 256 * MIB);
    assert!(number(&found, "MemoryStat/TotalUsageTowardLimit") < 64 * MIB);
    assert_eq!(
        (number(&found, "PidStat/Current"), number(&found, "PidStat/Max")),
        (1, 64)
    );
    assert!(number(&found, "DiskStat/TotalBytesUsed") > number(&found, "DiskStat/ExclusiveBytesUsed"));
    assert_eq!(found["CPUEntitlement"], 0);
    let age = number(&found, "Age");
    until_number(&web, "Age", |now| now > age);
    assert!(age < 600 * Duration::from_secs(1).as_nanos() as u64, "{age}");
    let ghost = web
        .garden
        .call("GET", "/containers/ghost/metrics", None)
        .err()
        .and_then(|error| error.status());
    assert_eq!(ghost, Some(404));
    Ok(())
}

#[test]
fn what_a_container_does_moves_its_metrics() -> Story {
    let node = Node::fence_only();
    let web = container(&node, "web")?;
    let before = metrics(&web)?;
    // Processors.
    let burner = web.run(&ProcessSpec::script("while :; do :; done"))?;
    let second = Duration::from_secs(1).as_nanos() as u64;
    let usage = number(&before, "CPUStat/Usage");
    until_number(&web, "CPUStat/Usage", |now| now > usage + second);
    until_number(&web, "CPUStat/User", |now| {
        now > number(&before, "CPUStat/User") + second / 2
    });
    // Processes.
    assert_eq!(number(&metrics(&web)?, "PidStat/Current"), 2);
    let sleepers = web.run(&ProcessSpec::script("sleep 1000 & sleep 1000 & sleep 1000 & wait"))?;
    until_number(&web, "PidStat/Current", |now| now == 6);
    burner.signal(tests::garden::Signal::Kill)?;
    burner.wait()?;
    web.garden.stop("web", true)?;
    drop(sleepers);
    until_number(&web, "PidStat/Current", |now| now == 1);
    Ok(())
}

#[test]
fn memory_files_and_network_are_counted() -> Story {
    let node = Node::fence_only();
    let web = container(&node, "web")?;
    let before = metrics(&web)?;
    // Memory: a file in memory cannot be taken back.
    let toward = number(&before, "MemoryStat/TotalUsageTowardLimit");
    let holder = web.run(&ProcessSpec::script(
        "dd if=/dev/zero of=/dev/shm/held bs=1M count=40 2>/dev/null; echo held; exec sleep 1000",
    ))?;
    holder.stdout.wait_for("held\n", LIMIT)?;
    let held = until_number(&web, "MemoryStat/TotalUsageTowardLimit", |now| now > toward + 36 * MIB);
    assert!(held < toward + 80 * MIB, "{held}");
    web.shell("rm /dev/shm/held")?;
    until_number(&web, "MemoryStat/TotalUsageTowardLimit", |now| now < toward + 20 * MIB);
    // Files: what was counted is good for a while, then it is counted anew.
    web.shell("mkdir -p /srv/many; cd /srv/many; dd if=/dev/zero of=big bs=1M count=30 2>/dev/null; i=0; while [ $i -lt 100 ]; do : > f$i; i=$((i+1)); done")?;
    let exclusive = number(&before, "DiskStat/ExclusiveBytesUsed");
    let written = until_number(&web, "DiskStat/ExclusiveBytesUsed", |now| now >= exclusive + 30 * MIB);
    assert!(written < exclusive + 40 * MIB, "{written}");
    let now = metrics(&web)?;
    assert!(number(&now, "DiskStat/ExclusiveInodesUsed") >= number(&before, "DiskStat/ExclusiveInodesUsed") + 102);
    let image =
        |metrics: &Value| number(metrics, "DiskStat/TotalBytesUsed") - number(metrics, "DiskStat/ExclusiveBytesUsed");
    assert_eq!(image(&now), image(&before), "the image stays as large as it is");
    // Network: also what nobody takes was sent.
    let sent = number(&now, "NetworkStat/TxBytes");
    let node_side = web.garden.info("web")?.host_ip;
    web.shell(&format!(
        "for i in 1 2 3 4 5; do nc -w 1 {node_side} 9 < /dev/null 2>/dev/null & done; wait"
    ))?;
    until_number(&web, "NetworkStat/TxBytes", |now| now >= sent + 5 * 54);
    Ok(())
}

#[test]
fn many_are_described_and_measured_at_a_time() -> Story {
    let node = Node::fence_only();
    let names = ["one", "two", "three"];
    let all: Vec<ContainerOf> = names
        .iter()
        .map(|name| container(&node, name))
        .collect::<anyhow::Result<_>>()?;
    let garden = &all[0].garden;
    garden.set_property("two", "owner", "story")?;
    let infos = garden.call("GET", "/containers/bulk_info?handles=one%2Ctwo%2Cghost", None)?;
    assert_eq!(infos.as_object().map(serde_json::Map::len), Some(3));
    assert_eq!(infos["one"]["Err"], Value::Null);
    assert_eq!(infos["one"]["Info"], garden.call("GET", "/containers/one/info", None)?);
    assert_eq!(infos["two"]["Info"]["Properties"]["owner"], "story");
    let unknown = json!({"Type": "ContainerNotFoundError", "Message": "unknown handle: ghost", "Handle": "ghost", "ProcessID": "", "Binary": ""});
    assert_eq!(infos["ghost"]["Err"], unknown);
    let measured = garden.call(
        "GET",
        "/containers/bulk_metrics?handles=one,two,three,ghost,no%20handle",
        None,
    )?;
    assert_eq!(measured.as_object().map(serde_json::Map::len), Some(5));
    for name in names {
        assert_eq!(measured[name]["Err"], Value::Null);
        assert_eq!(number(&measured[name]["Metrics"], "PidStat/Current"), 1);
    }
    for name in ["ghost", "no handle"] {
        assert_eq!(measured[name]["Err"]["Type"], "ContainerNotFoundError", "{name}");
        assert!(measured[name]["Metrics"].is_object(), "{name}");
    }
    for route in ["bulk_info", "bulk_metrics"] {
        for query in ["?handles=", ""] {
            assert_eq!(
                garden.call("GET", &format!("/containers/{route}{query}"), None)?,
                json!({})
            );
        }
    }
    Ok(())
}

#[test]
fn the_node_says_what_it_can_hold() -> Story {
    let node = Node::with_config(&[("max_containers", "17")]);
    let capacity = node.garden().capacity()?;
    assert_eq!(capacity.max_containers, 17);
    assert!(capacity.memory_in_bytes > 256 * MIB);
    assert!(capacity.schedulable_disk_in_bytes > 0 && capacity.disk_in_bytes >= capacity.schedulable_disk_in_bytes);
    Ok(())
}
