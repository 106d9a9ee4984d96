//! What each version's agent remembers and says, and what each version's kato asks of it.

use cluster::process::{Answered, Observed, Process, State, Wanted};
use fixtures::{kept, lines, list, pin, with_additions};
use jiff::Timestamp;

use super::memory::{Error, Memory, Running, Wish};
use super::process_control::Identity;
use super::wire::{Action, AgentInfo, Answer, Failure, FailureKind, Question, Report, VERSION};

fn running() -> Running {
    let identity = Identity {
        pid: 12,
        ticks: 3456,
        boot: "01935a00-0000-4000-8000-000000000000".into(),
    };
    Running {
        identity,
        generation: 2,
        since: Timestamp::UNIX_EPOCH,
    }
}

fn wish() -> Wish {
    Wish {
        run: false,
        generation: 2,
    }
}

fn answered() -> Answered {
    Answered {
        number: 1_700_000_000_000,
        problem: "".into(),
    }
}

/// A later version has more processes too: an addition to the map of them is one.
#[test]
fn a_memory_of_each_version_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.json");
    let memory = Memory::load(&path).unwrap();
    memory.set_wish(Process::Docker, wish()).unwrap();
    memory.set_running(Process::Fence, Some(running())).unwrap();
    memory.set_order(Process::Docker, answered()).unwrap();
    pin("agent.json", &std::fs::read_to_string(&path).unwrap());
    for version in kept("agent.json") {
        for text in [version.text.clone(), with_additions(&version.text)] {
            std::fs::write(&path, text).unwrap();
            let memory = Memory::load(&path).unwrap();
            assert_eq!(memory.wish(Process::Docker), wish(), "of {}", version.version);
            assert_eq!(memory.all_running(), [(Process::Fence, running())]);
            assert_eq!(memory.order(Process::Docker), Some(answered()));
        }
    }
}

#[test]
fn a_memory_of_a_later_format_is_refused_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.json");
    for version in kept("agent.json") {
        let later = version.text.replace("\"format\": 1", "\"format\": 2");
        std::fs::write(&path, &later).unwrap();
        assert!(matches!(Memory::load(&path), Err(Error::Format { format: 2, .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), later);
    }
}

fn questions() -> Vec<(&'static str, Action)> {
    let (processes, within_ms) = (vec![Process::Docker, Process::Fence], 60_000);
    let all = || processes.clone();
    vec![
        ("list", Action::List),
        ("status", Action::Status),
        (
            "ready",
            Action::Ready {
                processes: all(),
                within_ms: Some(within_ms),
            },
        ),
        (
            "ready_for_ever",
            Action::Ready {
                processes: Vec::new(),
                within_ms: None,
            },
        ),
        (
            "start",
            Action::Start {
                processes: all(),
                within_ms,
            },
        ),
        (
            "stop",
            Action::Stop {
                processes: all(),
                within_ms,
            },
        ),
        (
            "restart",
            Action::Restart {
                processes: all(),
                within_ms,
            },
        ),
        ("leave", Action::Leave),
    ]
}

#[test]
fn questions_of_each_version_are_understood() {
    let text = |action: Action| {
        let question = Question {
            version: VERSION,
            action,
        };
        serde_json::to_string(&question).unwrap()
    };
    pin(
        "agent/questions.txt",
        &list(questions().into_iter().map(|(name, action)| (name, text(action)))),
    );
    for version in kept("agent/questions.txt") {
        for (name, text) in lines(&version.text) {
            let expected = questions().into_iter().find(|(known, _)| *known == name).unwrap().1;
            for text in [text.to_owned(), with_additions(text)] {
                let question: Question = serde_json::from_str(&text).unwrap();
                assert_eq!(question.action, expected, "of {}", version.version);
            }
        }
    }
}

fn report() -> Report {
    let observed = Observed {
        process: Process::Fence,
        state: State::Running,
        pid: Some(12),
        since: Some(Timestamp::UNIX_EPOCH),
        problem: "it does not answer".into(),
        wanted: Wanted::Running,
        generation: 2,
    };
    Report {
        agent: AgentInfo {
            version: "0.1.0".into(),
            pid: 11,
            since: Timestamp::UNIX_EPOCH,
            os: "linux".into(),
            architecture: "x86_64".into(),
        },
        processes: vec![observed],
        fence: Some(Default::default()),
        fence_problem: "".into(),
        standing: None,
    }
}

fn failure() -> Failure {
    Failure {
        kind: FailureKind::TimedOut,
        message: "fence was not ready in time".into(),
        hint: "kato status".into(),
        log: vec!["the last line".into()],
    }
}

#[test]
fn answers_of_each_version_are_read() {
    let text = |answer: Answer| serde_json::to_string(&answer).unwrap();
    let (done, failed) = (Answer::Done(report().into()), Answer::Failed(failure()));
    pin(
        "agent/answers.txt",
        &list([("done", text(done)), ("failed", text(failed))]),
    );
    for version in kept("agent/answers.txt") {
        for (name, text) in lines(&version.text) {
            let later = with_additions(text).replacen("[{\"process\"", "[{\"process\":\"later\"},{\"process\"", 1);
            for text in [text.to_owned(), later] {
                match (name, serde_json::from_str(&text).unwrap()) {
                    ("done", Answer::Done(read)) => {
                        assert_eq!(read.processes, report().processes, "of {}", version.version);
                        assert_eq!(read.agent.version, "0.1.0");
                        assert!(read.fence.is_some());
                    }
                    ("failed", Answer::Failed(read)) => assert_eq!(read, failure(), "of {}", version.version),
                    (_, other) => panic!("{name} is read as {other:?}"),
                }
            }
        }
    }
}
