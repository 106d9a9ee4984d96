//! The patterns of `.dockerignore`, held to what Docker makes of them.

use super::*;

fn ignore(text: &str) -> Ignore {
    Ignore::read(text.as_bytes()).unwrap()
}

#[track_caller]
fn check(text: &str, out: &[&str], inside: &[&str]) {
    let ignore = ignore(text);
    for path in out {
        assert!(ignore.is_out(path.as_bytes()), "{path} by {text:?}");
    }
    for path in inside {
        assert!(!ignore.is_out(path.as_bytes()), "{path} by {text:?}");
    }
}

#[test]
fn patterns_are_dockers() {
    let text = "# comment\n.git\n*.log\n**/secret\nbuild/*\n!build/keep\n/top?\n\n";
    let out = [
        ".git",
        ".git/config",
        "a.log",
        "secret",
        "a/b/secret/key",
        "build/x",
        "top1",
    ];
    let inside = [
        "src",
        "a/b.log",
        "build",
        "build/keep",
        "top",
        "top12",
        "gitx",
        "secrets",
    ];
    check(text, &out, &inside);
    assert!(ignore(text).takes_back());
    check("", &[], &["a"]);
}

#[test]
fn two_stars_stand_for_any_parts() {
    check("**", &["a", "a/b", ".x"], &[]);
    check("a/**", &["a/b", "a/b/c"], &["a", "b"]);
    check("a/**/z", &["a/z", "a/b/z", "a/b/c/z"], &["az", "a/bz", "a/z1"]);
    check("**/*.o", &["x.o", "a/x.o", "a/b/x.o"], &["o", "x.oo"]);
    check("**/**/x", &["x", "a/x", "a/b/x"], &["ax"]);
    check("a**", &["a", "ab", "a/b", "ab/c"], &["b"]);
    check("**x", &["x", "a/x"], &["ax", "a/bx"]);
    check("a**b", &["ab", "ax/b", "a/b", "a/x/b"], &["axb", "a/xb"]);
    check("***", &["a", "a/b"], &[]);
}

#[test]
fn a_class_stands_for_one_character() {
    check(
        "[a-cx].log",
        &["a.log", "c.log", "x.log"],
        &["d.log", "ab.log", ".log", "-.log"],
    );
    check("[^a-c]", &["d", "é"], &["a", "dd"]);
    check("x[^a]y", &["xby"], &["x/y", "xay"]);
    check("[\\]\\-\\\\]", &["]", "-", "\\"], &["a"]);
    check("[à-ü]", &["é"], &["e"]);
    check("a[0-9]/[b]", &["a1/b", "a9/b/c"], &["a/b", "a1/c"]);
    check("[!a]", &["!", "a"], &["b"]);
}

#[test]
fn a_backslash_takes_what_follows_as_it_is() {
    check("\\*", &["*"], &["a", "**"]);
    check("a\\?b", &["a?b"], &["axb"]);
    check("\\!important", &["!important"], &["important"]);
    check("\\#1", &["#1"], &["1"]);
    check("\\[a]", &["[a]"], &["a"]);
}

#[test]
fn the_last_line_that_matches_decides() {
    check(
        "*\n!keep\nkeep/not",
        &["a", "keep/not", "keep/not/x"],
        &["keep", "keep/a"],
    );
    check("a\n! a/b \n", &["a", "a/c"], &["a/b", "a/b/c"]);
    check("!a\na", &["a"], &[]);
    check("**\n!*.txt", &["a", "b/c.txt"], &["a.txt"]);
}

#[test]
fn a_path_is_from_the_top_however_it_is_written() {
    check("./a//b/../c/", &["a/c", "a/c/d"], &["a/b", "a"]);
    check("/a", &["a"], &["b/a"]);
    check("  a  ", &["a"], &[]);
    check("a\r\nb\r\n", &["a", "b"], &[]);
    check("\u{feff}a", &["a"], &[]);
    check(".\n/\n..\n./\n../a\na/../../b", &[], &["a", "b"]);
    check(" # a", &["# a"], &[]);
}

#[test]
fn names_need_not_be_text() {
    let odd = Ignore::read(b"a\xff*\n[^a]").unwrap();
    assert!(odd.is_out(b"a\xff") && odd.is_out(b"a\xffb") && odd.is_out(b"\xfe"));
    assert!(!odd.is_out(b"a\xfe") && !odd.is_out("aÿ".as_bytes()));
    assert!(ignore("?").is_out(b"\xff"));
}

#[test]
fn what_is_no_pattern_or_too_much_is_refused_with_its_line() {
    let long = format!("a\n{}", "x".repeat(MAX_LINE + 1));
    let many = "x\n".repeat(MAX_LINES + 1);
    for (text, words) in [
        ("a\n[", "line 2"),
        ("[]", "nothing in it"),
        ("[]a]", "nothing in it"),
        ("[a", "without its ]"),
        ("[a-", "without its ]"),
        ("[a-]", "is no range"),
        ("[-a]", "is no range"),
        ("[^]", "nothing in it"),
        ("a\\", "takes nothing"),
        ("!", "takes back nothing"),
        (long.as_str(), "line 2 of .dockerignore is longer than"),
        (many.as_str(), "line 4097 of .dockerignore is one too many"),
    ] {
        match Ignore::read(text.as_bytes()) {
            Err(error) => {
                assert_eq!(error.kind(), crate::Kind::Refused);
                assert!(error.to_string().contains(words), "{error}");
            }
            Ok(_) => panic!("{text:?} was taken"),
        }
    }
    assert!(Ignore::read("x\n".repeat(MAX_LINES).as_bytes()).is_ok());
}

#[test]
fn a_pattern_that_could_be_slow_is_not() {
    let pattern = format!("{}b", "*a".repeat(1000));
    let path = "a".repeat(4000);
    let begun = std::time::Instant::now();
    assert!(!ignore(&pattern).is_out(path.as_bytes()));
    assert!(begun.elapsed() < std::time::Duration::from_secs(10));
}
