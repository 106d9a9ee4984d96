//! Both versions, from files as kernels of today write them.

use std::fs;

use super::*;

const MEMORY_V1: &str = "cache 8192\nrss 4096\nrss_huge 0\nmapped_file 4096\nswap 0\nswapcached 0\npgpgin 10\npgpgout 4\n\
    pgfault 12\npgmajfault 1\ninactive_anon 0\nactive_anon 4096\ninactive_file 2048\nactive_file 6144\nunevictable 0\n\
    hierarchical_memory_limit 67108864\nhierarchical_memsw_limit 67108864\ntotal_cache 16384\ntotal_rss 8192\n\
    total_swap 1024\ntotal_inactive_file 4096\ntotal_active_file 12288\n";
const MEMORY_V2: &str = "anon 8192\nfile 16384\nkernel_stack 100\nfile_mapped 4096\nswapcached 0\ninactive_anon 0\n\
    active_anon 8192\ninactive_file 4096\nactive_file 12288\nunevictable 0\npgfault 12\npgmajfault 1\n";

/// A tree of cgroup files, and the table of a process in it.
fn tree(table: &str, files: &[(&str, &str)]) -> (tempfile::TempDir, Places) {
    let root = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    (root, Places { table: table.into() })
}

fn v1(files: &[(&str, &str)]) -> (tempfile::TempDir, Places) {
    tree(
        "12:pids:/docker/abc\n7:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n1:name=systemd:/docker/abc\n0::/\n",
        files,
    )
}

const FILES_V1: [(&str, &str); 6] = [
    ("memory/docker/abc/memory.stat", MEMORY_V1),
    ("memory/docker/abc/memory.limit_in_bytes", "67108864\n"),
    ("cpu,cpuacct/docker/abc/cpuacct.usage", "123456789\n"),
    ("cpu,cpuacct/docker/abc/cpuacct.stat", "user 7\nsystem 5\n"),
    ("pids/docker/abc/pids.current", "3\n"),
    ("pids/docker/abc/pids.max", "max\n"),
];

#[test]
fn version_1_is_read() {
    let (root, places) = v1(&FILES_V1);
    let usage = places.usage(root.path()).unwrap();
    assert_eq!(usage.memory.usage_bytes, 16384 + 8192 + 1024 - 4096);
    assert_eq!(usage.memory.limit_bytes, Some(67_108_864));
    assert_eq!(usage.memory.stat["pgpgout"], 4);
    let cpu = Cpu {
        usage_ns: 123_456_789,
        user_ns: 70_000_000,
        system_ns: 50_000_000,
    };
    assert_eq!(usage.cpu, cpu);
    assert_eq!(usage.pids, Pids { current: 3, max: None });
}

#[test]
fn controllers_may_be_mounted_by_their_own_names() {
    let mut files = FILES_V1;
    files[2].0 = "cpuacct/docker/abc/cpuacct.usage";
    files[3].0 = "cpuacct/docker/abc/cpuacct.stat";
    let (root, places) = v1(&files);
    assert_eq!(places.usage(root.path()).unwrap().cpu.usage_ns, 123_456_789);
}

#[test]
fn a_limit_that_is_as_high_as_can_be_is_none() {
    let mut files = FILES_V1;
    files[1].1 = "9223372036854771712\n";
    let (root, places) = v1(&files);
    assert_eq!(places.usage(root.path()).unwrap().memory.limit_bytes, None);
}

#[test]
fn version_2_is_read_and_named_as_version_1_where_it_counts_the_same() {
    let (root, places) = tree(
        "0::/system.slice/docker-abc.scope\n",
        &[
            ("system.slice/docker-abc.scope/memory.stat", MEMORY_V2),
            ("system.slice/docker-abc.scope/memory.current", "30000\n"),
            ("system.slice/docker-abc.scope/memory.max", "max\n"),
            (
                "system.slice/docker-abc.scope/cpu.stat",
                "usage_usec 120\nuser_usec 70\nsystem_usec 50\nnr_periods 0\n",
            ),
            ("system.slice/docker-abc.scope/pids.current", "4\n"),
            ("system.slice/docker-abc.scope/pids.max", "64\n"),
        ],
    );
    let usage = places.usage(root.path()).unwrap();
    assert_eq!(usage.memory.usage_bytes, 30_000 - 4096);
    assert_eq!(usage.memory.limit_bytes, None);
    for (name, value) in [
        ("anon", 8192),
        ("rss", 8192),
        ("total_rss", 8192),
        ("total_cache", 16384),
        ("total_mapped_file", 4096),
        ("total_pgfault", 12),
        ("hierarchical_memory_limit", 9_223_372_036_854_771_712),
        ("total_swap", 0),
    ] {
        assert_eq!(usage.memory.stat.get(name), Some(&value), "{name}");
    }
    assert_eq!((usage.cpu.usage_ns, usage.cpu.user_ns), (120_000, 70_000));
    let pids = Pids {
        current: 4,
        max: Some(64),
    };
    assert_eq!(usage.pids, pids);
}

#[test]
fn what_is_missing_or_makes_no_sense_is_named() {
    let (root, places) = v1(&FILES_V1[..3]);
    let missing = places.usage(root.path()).unwrap_err().to_string();
    assert!(missing.ends_with("cpu,cpuacct/docker/abc/cpuacct.stat"), "{missing}");
    let mut files = FILES_V1;
    files[2].1 = "many\n";
    let (root, places) = v1(&files);
    assert!(matches!(places.usage(root.path()), Err(Error::Content { .. })));
}

#[test]
fn a_process_of_another_cgroup_is_refused() {
    let own = std::process::id() as i32;
    for name in ["", "a-container-that-is-not-there"] {
        assert!(matches!(Places::of(own, name), Err(Error::NotThere { .. })));
    }
}
