//! What the log promises over crashes, rotation and full disks.

use std::io::Write;
use std::path::Path;

use fence_init::protocol::Stream;

use super::*;

fn place(run: u64) -> Place {
    Place {
        process: "main".parse().unwrap(),
        run,
        stream: Stream::Stdout,
    }
}

/// Write these lines as they go on from where the log has come to.
fn write(log: &Log, run: u64, text: &str, rules: &Rules) {
    let mut lines = Lines::at(log.written(&place(run)).unwrap());
    let mut pieces = lines.take(text.as_bytes());
    pieces.extend(lines.flush());
    log.write(&place(run), pieces, rules).unwrap();
}

fn all(log: &Log, from: Position) -> (Vec<String>, u64) {
    let (mut at, mut texts, mut missed) = (from, Vec::new(), 0);
    loop {
        let batch = log.read(at, &Filter::default()).unwrap();
        texts.extend(
            batch
                .entries
                .into_iter()
                .map(|entry| entry.text.unwrap_or_else(|| "-".into())),
        );
        missed += batch.missed;
        at = batch.at;
        if batch.end {
            return (texts, missed);
        }
    }
}

fn newest(dir: &Path) -> std::path::PathBuf {
    let directory = dir.join("i");
    files::path(&directory, *files::list(&directory).unwrap().last().unwrap())
}

#[test]
fn numbers_and_places_go_on_after_a_restart_and_a_line_cut_off_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let rules = Rules::sample();
    write(&Store::new(dir.path()).log("i"), 1, "a\nb\n", &rules);
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .open(newest(dir.path()))
        .unwrap();
    file.write_all(br#"{"number":3,"time":"#).unwrap();
    let store = Store::new(dir.path());
    let log = store.log("i");
    assert_eq!(log.written(&place(1)).unwrap(), 4);
    assert_eq!(log.written(&place(2)).unwrap(), 0, "another run is another output");
    write(&log, 1, "c\n", &rules);
    assert_eq!(all(&log, Position::default()).0, ["a", "b", "c"]);
    assert_eq!(all(&log, Position::after(2)).0, ["c"]);
    assert_eq!(store.total(), std::fs::metadata(newest(dir.path())).unwrap().len());
}

#[test]
fn files_are_rotated_and_places_are_known_beyond_them() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path());
    let log = store.log("i");
    let rules = Rules {
        file_bytes: 4096,
        ..Rules::sample()
    };
    write(&log, 7, "first\n", &rules);
    for number in 0..400 {
        write(&log, 8, &format!("line {number}\n"), &rules);
    }
    let directory = dir.path().join("i");
    assert_eq!(files::list(&directory).unwrap().len() as u64, rules.files);
    assert!(files::size(&directory) <= (rules.files + 1) * rules.file_bytes);
    assert_eq!(store.total(), files::size(&directory));
    let (texts, missed) = all(&log, Position::after(1));
    assert_eq!(texts.last().unwrap(), "line 399");
    assert_eq!(
        texts.len() as u64 + missed,
        400,
        "who comes late is told how many are gone"
    );
    let again = Store::new(dir.path()).log("i");
    assert_eq!(again.written(&place(7)).unwrap(), 6, "although its entries are gone");
}

#[test]
fn a_node_whose_logs_take_too_much_keeps_one_file_of_who_writes() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path());
    let rules = Rules {
        file_bytes: 4096,
        total_bytes: 10_000,
        files: 50,
        ..Rules::sample()
    };
    let logs = [store.log("i"), store.log("j")];
    for _ in 0..400 {
        logs.iter().for_each(|log| write(log, 1, "some line\n", &rules));
    }
    assert!(store.total() < 10_000 + 4 * 4096, "{}", store.total());
}

#[test]
fn the_last_entries_that_are_wanted_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let log = Store::new(dir.path()).log("i");
    let rules = Rules {
        file_bytes: 1 << 20,
        ..Rules::sample()
    };
    write(
        &log,
        1,
        &(0..2000).map(|number| format!("{number}\n")).collect::<String>(),
        &rules,
    );
    let from = log.tail(3, &Filter::default()).unwrap();
    assert_eq!(all(&log, from).0, ["1997", "1998", "1999"]);
    assert!(all(&log, log.tail(0, &Filter::default()).unwrap()).0.is_empty());
    assert_eq!(all(&log, log.tail(5000, &Filter::default()).unwrap()).0.len(), 2000);
    let other = Filter {
        stream: Some(Stream::Stderr),
        ..Filter::default()
    };
    assert!(
        log.read(log.tail(9, &other).unwrap(), &other)
            .unwrap()
            .entries
            .is_empty()
    );
    let later = Filter {
        since: Some("9000-01-01T00:00:00Z".parse().unwrap()),
        ..Filter::default()
    };
    assert!(log.read(Position::default(), &later).unwrap().entries.is_empty());
}

#[test]
fn what_is_no_text_is_kept_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let log = Store::new(dir.path()).log("i");
    let pieces = Lines::at(0).take(b"\xff\x00\n");
    log.write(&place(1), pieces, &Rules::sample()).unwrap();
    let batch = log.read(Position::default(), &Filter::default()).unwrap();
    assert_eq!(batch.entries[0].base64.as_deref(), Some("/wA="));
    assert!(!batch.entries[0].partial);
}

#[test]
fn what_cannot_be_written_is_marked_where_it_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("i"), "no directory").unwrap();
    let log = Store::new(dir.path()).log("i");
    let rules = Rules::sample();
    let mut lines = Lines::at(0);
    log.write(&place(1), lines.take(b"lost\n"), &rules).unwrap_err();
    std::fs::remove_file(dir.path().join("i")).unwrap();
    log.write(&place(1), lines.take(b"kept\n"), &rules).unwrap();
    let entries = log.read(Position::default(), &Filter::default()).unwrap().entries;
    assert_eq!(
        (entries[0].dropped, entries[1].text.as_deref()),
        (Some(5), Some("kept"))
    );
    assert!(!entries[0].reason.is_empty());
}

#[tokio::test]
async fn a_log_that_is_gone_takes_nothing_more_and_its_readers_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path());
    let log = store.log("i");
    let mut told = log.subscribe();
    write(&log, 1, "a\n", &Rules::sample());
    assert_eq!(log.changed(&mut told).await, Some(()));
    log.remove().unwrap();
    assert_eq!(log.changed(&mut told).await, None);
    let pieces = Lines::at(2).take(b"b\n");
    log.write(&place(1), pieces, &Rules::sample()).unwrap();
    assert!(store.instances().is_empty());
    assert_eq!(store.total(), 0);
}
