//! What no well-behaved client sends: heads, lengths, bodies and addresses, each with the answers it may get.

use serde_json::{Value, json};

/// What a client sends, and the statuses of which it has to be answered with one; none of them = it is hung up on.
pub struct Bad {
    pub what: String,
    pub bytes: Vec<u8>,
    pub statuses: &'static [u16],
}

fn bad(what: impl Into<String>, bytes: impl Into<Vec<u8>>, statuses: &'static [u16]) -> Bad {
    let (what, bytes) = (what.into(), bytes.into());
    Bad { what, bytes, statuses }
}

/// Requests whose bodies are read by the three readers there are: ordinary, hijacked, and upgraded.
const READERS: [(&str, &str); 3] = [
    ("/containers", ""),
    ("/containers/web/processes", ""),
    (
        "/fence/v1/containers/web/processes",
        "Connection: Upgrade\r\nUpgrade: fence-process/1\r\n",
    ),
];

fn bad_heads() -> Vec<Bad> {
    let lines: &[&[u8]] = &[
        b"nonsense",
        b"GET",
        b"GET /ping",
        b"GET  /ping HTTP/1.1",
        b"GET /ping HTTP/1.1 more",
        b"GET /ping HTTP/2.0",
        b"GET /ping HTTP/9.9",
        b"GET /ping http/1.1",
        b"GET /pi ng HTTP/1.1",
        b"GET /ping\0 HTTP/1.1",
        b"GET /\x01 HTTP/1.1",
        b"G\0T /ping HTTP/1.1",
        b"G(T /ping HTTP/1.1",
        b" GET /ping HTTP/1.1",
        b"\xff\xfe /ping HTTP/1.1",
        b"PRI * HTTP/2.0",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"{\"handle\":\"a\"}",
    ];
    let fields: &[&[u8]] = &[
        b"no colon",
        b": no name",
        b"Sp ace: x",
        b"Space : x",
        b"Zero: \0",
        b"Ze\0ro: x",
        b"Bell: \x07",
        b"Feed: a\rb",
        b" Folded: x",
        b"\xc3\xa4: x",
    ];
    let mut all = Vec::new();
    for line in lines {
        let head = [line, &b"\r\nHost: api\r\n\r\n"[..]].concat();
        all.push(bad(
            format!("line {:?}", String::from_utf8_lossy(line)),
            head,
            &[400, 404],
        ));
    }
    for field in fields {
        let head = [b"GET /ping HTTP/1.1\r\n", *field, b"\r\n\r\n"].concat();
        all.push(bad(format!("field {:?}", String::from_utf8_lossy(field)), head, &[400]));
    }
    let x = "x".repeat(70_000);
    let many = "A: b\r\n".repeat(101);
    for (what, head) in [
        ("a long address", format!("GET /{x} HTTP/1.1\r\n\r\n")),
        ("a long query", format!("GET /containers?{x} HTTP/1.1\r\n\r\n")),
        ("a long field", format!("GET /ping HTTP/1.1\r\nX: {x}\r\n\r\n")),
        ("a long name", format!("GET /ping HTTP/1.1\r\n{x}: y\r\n\r\n")),
        ("many fields", format!("GET /ping HTTP/1.1\r\n{many}\r\n")),
        ("a method without end", x.clone()),
    ] {
        all.push(bad(what, head, &[431, 400]));
    }
    all
}

fn bad_lengths() -> Vec<Bad> {
    let mut all = Vec::new();
    let lengths = [
        "-1",
        "+2",
        "1e3",
        "0x10",
        "2, 3",
        "zwei",
        "",
        "4194305",
        "18446744073709551615",
        "18446744073709551616",
    ];
    let chunks = [
        "ffffffffffffffff\r\nx",
        "fffffffffffffffff\r\nx",
        "400001\r\nx",
        "-1\r\nx",
        "zz\r\nx",
        "\r\n\r\n",
        "2\r\n{}{}\r\n0\r\n\r\n",
    ];
    for (path, fields) in READERS {
        let head = format!("POST {path} HTTP/1.1\r\nHost: api\r\n{fields}");
        let mut add = |what: String, rest: String| {
            all.push(bad(
                format!("{path}: {what}"),
                format!("{head}{rest}"),
                &[400, 413, 431, 500],
            ));
        };
        for length in lengths {
            add(
                format!("length {length:?}"),
                format!("Content-Length: {length}\r\n\r\n{{}}"),
            );
        }
        for chunk in chunks {
            add(
                format!("chunk {chunk:?}"),
                format!("Transfer-Encoding: chunked\r\n\r\n{chunk}"),
            );
        }
        add(
            "two lengths".into(),
            "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}".into(),
        );
        add(
            "length and chunks".into(),
            "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}".into(),
        );
        add("unknown coding".into(), "Transfer-Encoding: gzip\r\n\r\n{}".into());
        let extension = "e".repeat(70_000);
        add(
            "a long extension".into(),
            format!("Transfer-Encoding: chunked\r\n\r\n2;{extension}\r\n{{}}"),
        );
        add("a body cut off".into(), "Content-Length: 100\r\n\r\n{\"env\":".into());
        add(
            "chunks cut off".into(),
            "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"e".into(),
        );
        let bomb = "1\r\n \r\n".repeat(100_000);
        add(
            "a hundred thousand chunks of nothing".into(),
            format!("Transfer-Encoding: chunked\r\n\r\n{bomb}0\r\n\r\n"),
        );
    }
    all
}

/// Bodies that no reader takes, whatever it reads.
fn bad_json() -> Vec<(&'static str, Vec<u8>)> {
    let items = |item: &str, count: usize| format!("{{\"env\":[{}]}}", vec![item; count].join(",")).into_bytes();
    vec![
        ("nothing", Vec::new()),
        ("a text", b"\"x\"".to_vec()),
        ("a list", b"[{}]".to_vec()),
        ("half an object", b"{\"env\":".to_vec()),
        ("deep lists", "[".repeat(100_000).into_bytes()),
        ("deep objects", "{\"a\":".repeat(100_000).into_bytes()),
        (
            "deep lists in env",
            format!("{{\"env\":{}", "[".repeat(200)).into_bytes(),
        ),
        ("a number for a list", b"{\"env\":5}".to_vec()),
        ("numbers in env", items("0", 200_000)),
        ("objects in env", items("{}", 200_000)),
        ("too many in env", items("\"A=1\"", 2_001)),
        ("env without names", items("\"=x\"", 1)),
        ("a zero byte in env", items("\"A=\\u0000\"", 1)),
        ("a long entry", items(&format!("\"A={}\"", "x".repeat(130 * 1024)), 1)),
        ("a long env", items(&format!("\"A={}\"", "x".repeat(100 * 1024)), 6)),
        ("a lone surrogate", b"{\"env\":[\"A=\\ud800\"]}".to_vec()),
        ("a control character", b"{\"env\":[\"A=\x01\"]}".to_vec()),
        ("a number beyond all", b"{\"env\":1e999}".to_vec()),
    ]
}

/// Bodies that are no container, in Garden's words.
fn bad_containers() -> Vec<(&'static str, Value)> {
    let long = "x".repeat(300);
    let huge = "x".repeat(200 * 1024);
    let properties: serde_json::Map<_, _> = (0..501).map(|n| (n.to_string(), json!("v"))).collect();
    let mount = |source: &str, target: &str| json!({"bind_mounts": [{"src_path": source, "dst_path": target}]});
    vec![
        ("a long handle", json!({ "handle": long })),
        ("a handle with a slash", json!({"handle": "a/b"})),
        ("a handle with a zero byte", json!({"handle": "a\u{0}"})),
        ("a handle of two dots", json!({"handle": ".."})),
        ("a negative grace time", json!({"grace_time": -1})),
        (
            "negative memory",
            json!({"limits": {"memory_limits": {"limit_in_bytes": -1}}}),
        ),
        (
            "memory for nothing",
            json!({"limits": {"memory_limits": {"limit_in_bytes": 1}}}),
        ),
        (
            "memory beyond counting",
            json!({"limits": {"memory_limits": {"limit_in_bytes": u64::MAX}}}),
        ),
        ("one pid", json!({"limits": {"pid_limits": {"max": 1}}})),
        ("pids in fractions", json!({"limits": {"pid_limits": {"max": 64.5}}})),
        ("a negative port", json!({"netin": [{"host_port": -1}]})),
        ("a port beyond all", json!({"netin": [{"host_port": 65536}]})),
        ("many ports", json!({"netin": vec![json!({"container_port": 80}); 101]})),
        ("many properties", json!({ "properties": properties })),
        ("a long property", json!({"properties": {"k": huge}})),
        ("a long image", json!({"image": {"uri": format!("docker:///{huge}")}})),
        ("an image of dots", json!({"image": {"uri": "docker:///../../etc#x"}})),
        ("an unknown scheme", json!({"image": {"uri": "oci:///a"}})),
        ("a path that is not there", json!({"image": {"uri": "/nowhere/at/all"}})),
        ("a long path", json!({"image": {"uri": format!("/{huge}")}})),
        (
            "a long account",
            json!({"image": {"uri": "docker:///a", "username": huge}}),
        ),
        ("a mount over the first process", mount("/tmp", "/.fence/bin")),
        ("a mount that climbs", mount("/tmp", "/a/../..")),
        ("a mount of nothing", mount("/nowhere/at/all", "/a")),
        (
            "many mounts",
            json!({"bind_mounts": vec![json!({"src_path": "/tmp", "dst_path": "/a"}); 101]}),
        ),
        ("a mode beyond all", json!({"bind_mounts": [{"mode": 256}]})),
    ]
}

fn bad_processes() -> Vec<(&'static str, Value)> {
    vec![
        ("no program", json!({})),
        ("a program with a zero byte", json!({"path": "a\u{0}"})),
        ("a long program", json!({"path": "x".repeat(5000)})),
        ("a long id", json!({"id": "x".repeat(129), "path": "true"})),
        ("many arguments", json!({"path": "true", "args": vec!["a"; 4097]})),
        (
            "long arguments",
            json!({"path": "true", "args": ["x".repeat(600 * 1024)]}),
        ),
        ("a long user", json!({"path": "true", "user": "x".repeat(600)})),
        ("nobody", json!({"path": "true", "user": "nobody-of-that-name"})),
        (
            "a wide terminal",
            json!({"path": "true", "tty": {"window_size": {"columns": 65536}}}),
        ),
        ("a negative limit", json!({"path": "true", "rlimits": {"nofile": -1}})),
    ]
}

fn bad_bodies() -> Vec<Bad> {
    let mut all = Vec::new();
    let mut add = |(path, fields): (&str, &str), what: &str, body: &[u8]| {
        let length = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nHost: api\r\n{fields}Content-Length: {length}\r\n\r\n");
        let bytes = [head.as_bytes(), body].concat();
        all.push(bad(format!("{path}: {what}"), bytes, &[400, 500]));
    };
    for (what, body) in bad_json() {
        READERS.into_iter().for_each(|reader| add(reader, what, &body));
    }
    for (what, body) in bad_containers() {
        add(READERS[0], what, body.to_string().as_bytes());
        let own = json!({ "spec": body }).to_string();
        add(("/fence/v1/containers", ""), what, own.as_bytes());
    }
    for (what, body) in bad_processes() {
        add(READERS[1], what, body.to_string().as_bytes());
        add(READERS[2], what, body.to_string().as_bytes());
    }
    all
}

/// Addresses of what is not there, in every way of writing it. (An unknown stream of a process is an empty one, as in
/// Garden's own server.)
fn bad_addresses() -> Vec<Bad> {
    let long = "x".repeat(5000);
    let names = [
        "nobody",
        "..",
        "%2e%2e",
        "%00",
        "%ff%fe",
        "a%2Fb",
        "%",
        "%zz",
        "%2525",
        long.as_str(),
    ];
    let mut all = Vec::new();
    for name in names {
        for (method, target) in [
            ("GET", format!("/containers/{name}/info")),
            ("DELETE", format!("/containers/{name}")),
            ("GET", format!("/containers/{name}/processes/p")),
            ("GET", format!("/containers/web/processes/{name}")),
            ("GET", format!("/fence/v1/containers/{name}")),
        ] {
            let shown: String = target.chars().take(60).collect();
            let head = format!("{method} {target} HTTP/1.1\r\nHost: api\r\n\r\n");
            all.push(bad(format!("{method} {shown}"), head, &[404, 500]));
        }
    }
    all
}

/// All of them.
pub fn all() -> Vec<Bad> {
    let kinds = [bad_heads(), bad_lengths(), bad_bodies(), bad_addresses()];
    kinds.into_iter().flatten().collect()
}
