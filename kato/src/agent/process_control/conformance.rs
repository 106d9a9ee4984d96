//! What every home of [`ProcessControl`] promises, as one suite.

use std::time::Duration;

use tokio::time::timeout;

use super::{Ask, End, Identity, Launch, ProcessControl};

/// Longer than any of these steps takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// Programs of which the home knows how they behave.
pub struct Programs {
    /// Runs until it is told to end.
    pub obedient: Launch,
    /// Runs, and takes no notice of being told to end in its own time.
    pub stubborn: Launch,
    /// Ends at once with exit code 3.
    pub ends_with_3: Launch,
    /// Is not there.
    pub missing: Launch,
}

/// Hold a home to all promises.
pub async fn run(control: &dyn ProcessControl, programs: &Programs) {
    a_started_process_lives_until_it_is_told_to_end(control, programs).await;
    a_process_that_takes_no_notice_dies_when_it_must(control, programs).await;
    an_exit_code_arrives(control, programs).await;
    a_missing_program_is_an_error(control, programs).await;
    another_process_of_the_same_pid_is_not_touched(control, programs).await;
}

async fn ended(control: &dyn ProcessControl, process: &Identity) -> End {
    timeout(DEADLINE, control.ended(process))
        .await
        .expect("it ends")
        .expect("its end is seen")
}

async fn a_started_process_lives_until_it_is_told_to_end(control: &dyn ProcessControl, programs: &Programs) {
    let process = control.start(&programs.obedient).await.unwrap();
    assert_eq!(control.identify(process.pid).await.unwrap(), Some(process.clone()));
    assert!(control.is_alive(&process).await.unwrap());
    assert!(control.runs(&process, &programs.obedient).await.unwrap());
    assert!(!control.runs(&process, &programs.missing).await.unwrap());
    control.ask(&process, Ask::End).await.unwrap();
    assert_eq!(ended(control, &process).await, End::Signal(15));
    assert!(!control.is_alive(&process).await.unwrap());
    assert_eq!(control.identify(process.pid).await.unwrap(), None);
    assert!(!control.runs(&process, &programs.obedient).await.unwrap());
    // What has ended was told enough, and its end is no longer waited for.
    control.ask(&process, Ask::End).await.unwrap();
    ended(control, &process).await;
}

async fn a_process_that_takes_no_notice_dies_when_it_must(control: &dyn ProcessControl, programs: &Programs) {
    let process = control.start(&programs.stubborn).await.unwrap();
    // Whether the first is taken notice of depends on how far it has come; that it dies of the second does not.
    control.ask(&process, Ask::End).await.unwrap();
    control.ask(&process, Ask::Die).await.unwrap();
    assert!(matches!(ended(control, &process).await, End::Signal(9 | 15)));
}

async fn an_exit_code_arrives(control: &dyn ProcessControl, programs: &Programs) {
    let process = control.start(&programs.ends_with_3).await.unwrap();
    assert_eq!(ended(control, &process).await, End::Code(3));
}

async fn a_missing_program_is_an_error(control: &dyn ProcessControl, programs: &Programs) {
    let error = control.start(&programs.missing).await.unwrap_err();
    assert!(error.to_string().contains("start"), "{error}");
}

async fn another_process_of_the_same_pid_is_not_touched(control: &dyn ProcessControl, programs: &Programs) {
    let process = control.start(&programs.obedient).await.unwrap();
    let earlier = Identity {
        ticks: process.ticks.wrapping_sub(1),
        ..process.clone()
    };
    let before_boot = Identity {
        boot: "another".into(),
        ..process.clone()
    };
    for other in [earlier, before_boot] {
        assert!(!control.is_alive(&other).await.unwrap());
        control.ask(&other, Ask::Die).await.unwrap();
    }
    assert!(control.is_alive(&process).await.unwrap());
    control.ask(&process, Ask::Die).await.unwrap();
    assert_eq!(ended(control, &process).await, End::Signal(9));
}
