//! Whether a node is in order, and if not, what is wrong and what to do about it. Pure.

use cluster::nodes::NodeFile;
use cluster::process::{Observed, Process, State, Wanted};

use super::model::{Problem, Seen, Tree};
use crate::agent::joining::Standing;
use crate::fence_api::wire::{ImageStatus, Status as FenceStatus};

fn problem(problem: impl Into<String>, hint: impl Into<String>) -> Problem {
    Problem {
        problem: problem.into(),
        hint: hint.into(),
    }
}

/// What is not in order; `docker` is why Docker gave no answer, where it gave none.
pub fn judge(node: &NodeFile, report: &Seen, tree: &Result<Tree, String>, docker: Option<String>) -> Vec<Problem> {
    let mut problems: Vec<Problem> = report
        .processes
        .iter()
        .filter(|seen| !seen.is_in_order())
        .map(|seen| of_process(seen, node))
        .collect();
    // A node that is not in its cluster cannot read the tree; the reason says more.
    let complaint = report.standing.as_ref().and_then(Standing::complaint);
    if let Some((what, hint)) = complaint {
        problems.push(problem(what, hint));
    } else if let Err(reason) = tree {
        problems.push(problem(
            format!("the config tree cannot be read: {reason}"),
            "kato config get",
        ));
    }
    let seems_ready = |process| {
        report
            .processes
            .iter()
            .any(|seen| seen.process == process && seen.is_ready())
    };
    // A slow answer is none of a Docker that fence can work with.
    let serves = report.fence.as_ref().is_some_and(|fence| fence.engine.state == "ok");
    let docker_hangs = docker.filter(|_| seems_ready(Process::Docker) && !serves);
    if let Some(reason) = &docker_hangs {
        let by_us = "kato process restart docker";
        problems.push(problem(
            reason,
            if node.docker.managed {
                by_us
            } else {
                "restart the Docker engine"
            },
        ));
    }
    match &report.fence {
        Some(fence) => problems.extend(of_fence(fence)),
        None if seems_ready(Process::Fence) => {
            // What Docker does not answer, fence cannot.
            let hint = if docker_hangs.is_some() {
                ""
            } else {
                "kato process restart fence"
            };
            problems.push(problem(report.fence_problem.clone(), hint));
        }
        // Said with the process already, or it was stopped on purpose.
        None => {}
    }
    problems
}

fn of_process(seen: &Observed, node: &NodeFile) -> Problem {
    let Observed {
        process,
        state,
        problem: reason,
        ..
    } = seen;
    let what = match (process, reason.as_str()) {
        (_, "") => format!("{process} is {state}"),
        // It names the agent itself.
        (Process::Agent, reason) => reason.to_owned(),
        (_, reason) => format!("{process} is {state}: {reason}"),
    };
    let hint = match (process, seen.wanted) {
        (Process::Agent, _) => "kato start".to_owned(),
        (_, Wanted::External) => format!("start the Docker engine that serves {}", node.docker.socket.display()),
        (_, Wanted::Stopped) => format!("kato process stop {process}"),
        (_, Wanted::Running) if seen.pid.is_some() || *state == State::Starting => {
            format!("kato process ready --block 60 {process}")
        }
        (_, Wanted::Running) => format!("kato process start {process}"),
    };
    problem(what, hint)
}

fn of_fence(fence: &FenceStatus) -> Vec<Problem> {
    let mut problems = Vec::new();
    let engine = &fence.engine;
    if engine.state != "ok" {
        problems.push(problem(
            format!("fence cannot use Docker: {}", engine.problem),
            "kato process list docker",
        ));
    }
    let image = &fence.image;
    if image.state != "ok" && !is_pulled_beside(image) {
        let configured = image.configured.join(", ");
        let reason = match image.problem.as_str() {
            "" => format!("the image {configured} is {}", image.state),
            said => said.to_owned(),
        };
        let instead = match image.in_use.as_str() {
            "" => "no container can be created".to_owned(),
            in_use => format!("{in_use} stays in use"),
        };
        let first = image.configured.first().map_or("NAME", String::as_str);
        let hint = format!("docker pull {first}, or kato config set fence docker/image NAME");
        problems.push(problem(format!("{reason}; {instead}"), hint));
    }
    if fence.config.stale {
        problems.push(problem(
            "fence cannot read the config tree and goes by its last copy",
            "",
        ));
    }
    problems.extend(
        fence
            .config
            .problems
            .iter()
            .map(|reason| problem(reason.clone(), "kato config schema fence")),
    );
    problems.extend(fence.problems.iter().map(|repair| {
        let since = repair.since.map(|since| format!(" since {since}")).unwrap_or_default();
        match repair.tries {
            // Nobody can put it right; what to do is said with it.
            0 => problem(format!("{}{since}: {}", repair.what, repair.why), ""),
            _ => problem(
                format!("{}{since}: {}; fence tries again", repair.what, repair.why),
                "kato process list",
            ),
        }
    }));
    problems
}

/// Whether the image is on its way while another one serves.
fn is_pulled_beside(image: &ImageStatus) -> bool {
    image.state == "pulling" && !image.in_use.is_empty()
}

/// What an administrator should know although it is in order.
pub fn warn(report: &Seen, live_restore: Option<bool>) -> Vec<String> {
    let mut warnings = Vec::new();
    if live_restore == Some(false) {
        warnings.push(
            "Docker runs without live-restore: containers end when it is stopped or restarted \
             (set \"live-restore\": true in /etc/docker/daemon.json)"
                .to_owned(),
        );
    }
    let pulled = report
        .fence
        .iter()
        .map(|fence| &fence.image)
        .filter(|image| is_pulled_beside(image));
    warnings.extend(pulled.map(|image| {
        let configured = image.configured.join(", ");
        format!(
            "the image {configured} is being pulled; {} stays in use until it is there",
            image.in_use
        )
    }));
    let retiring = report.fence.iter().filter_map(|fence| fence.retiring.as_ref());
    warnings.extend(retiring.map(|retiring| {
        let since = retiring
            .since
            .map(|since| format!(" since {since}"))
            .unwrap_or_default();
        format!("the node is being retired{since}: {retiring} (kato node retire --cancel)")
    }));
    let by_hand = report
        .processes
        .iter()
        .filter(|seen| seen.wanted == Wanted::Stopped && seen.is_in_order());
    warnings.extend(by_hand.map(|seen| format!("{} was stopped on purpose (kato process start {0})", seen.process)));
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::config::Name;
    use cluster::nodes::DockerSettings;

    use crate::fence_api::wire::{Repair, Retiring};

    fn node() -> NodeFile {
        NodeFile::micro(&Name::new("one").unwrap(), DockerSettings::default())
    }

    fn running(process: Process) -> Observed {
        Observed {
            state: State::Running,
            pid: Some(7),
            ..Observed::stopped(process, Wanted::Running)
        }
    }

    fn good_fence() -> FenceStatus {
        let mut fence = FenceStatus {
            ready: true,
            ..FenceStatus::default()
        };
        fence.engine.state = "ok".into();
        fence.image.configured = vec!["a:1".into()];
        fence.image.in_use = "a:1".into();
        fence.image.state = "ok".into();
        fence
    }

    fn judged(fence: Option<FenceStatus>, processes: Vec<Observed>) -> Vec<Problem> {
        let report = Seen {
            processes,
            fence,
            fence_problem: "fence gave no answer".into(),
            standing: None,
        };
        judge(
            &node(),
            &report,
            &Ok(Tree {
                revision: 1,
                image: Vec::new(),
            }),
            None,
        )
    }

    #[test]
    fn all_is_in_order_when_everything_wanted_runs_and_the_image_is_there() {
        assert_eq!(judged(Some(good_fence()), Process::ALL.map(running).to_vec()), []);
        let stopped = Observed::stopped(Process::Fence, Wanted::Stopped);
        assert_eq!(judged(None, vec![running(Process::Agent), stopped]), []);
    }

    #[test]
    fn a_dead_process_is_named_with_what_to_do() {
        let dead = Observed {
            problem: "it ended".into(),
            ..Observed::stopped(Process::Fence, Wanted::Running)
        };
        let problems = judged(None, vec![running(Process::Agent), dead]);
        assert_eq!(
            problems,
            [problem("fence is STOPPED: it ended", "kato process start fence")]
        );
        let external = Observed::stopped(Process::Docker, Wanted::External);
        assert!(judged(None, vec![external])[0].hint.contains("/var/run/docker.sock"));
    }

    #[test]
    fn a_fence_that_runs_and_says_nothing_is_a_problem() {
        let problems = judged(None, vec![running(Process::Fence)]);
        assert_eq!(
            problems,
            [problem("fence gave no answer", "kato process restart fence")]
        );
    }

    #[test]
    fn a_docker_that_hangs_is_named_before_the_fence_that_waits_for_it() {
        let processes = vec![running(Process::Docker), running(Process::Fence)];
        let report = Seen {
            processes,
            fence: None,
            fence_problem: "fence gave no answer".into(),
            standing: None,
        };
        let tree = Ok(Tree {
            revision: 1,
            image: Vec::new(),
        });
        let problems = judge(&node(), &report, &tree, Some("Docker gave no answer".into()));
        assert_eq!(
            problems[0],
            problem("Docker gave no answer", "restart the Docker engine")
        );
        assert_eq!(problems[1], problem("fence gave no answer", ""));
    }

    #[test]
    fn a_missing_image_is_a_problem_and_one_on_its_way_is_none_while_another_serves() {
        let mut fence = good_fence();
        fence.image.state = "missing".into();
        fence.image.configured = vec!["b:2".into()];
        let problems = judged(Some(fence.clone()), vec![running(Process::Fence)]);
        assert_eq!(problems[0].problem, "the image b:2 is missing; a:1 stays in use");
        fence.image.state = "pulling".into();
        assert_eq!(judged(Some(fence.clone()), vec![running(Process::Fence)]), []);
        let report = Seen {
            processes: Vec::new(),
            fence: Some(fence.clone()),
            fence_problem: String::new(),
            standing: None,
        };
        assert_eq!(
            warn(&report, None),
            ["the image b:2 is being pulled; a:1 stays in use until it is there"]
        );
        fence.image.in_use.clear();
        assert_eq!(judged(Some(fence), vec![running(Process::Fence)]).len(), 1);
    }

    #[test]
    fn config_that_is_not_followed_is_a_problem() {
        let mut fence = good_fence();
        fence.config.stale = true;
        fence.config.problems = vec!["fence/max_containers is no number".into()];
        assert_eq!(judged(Some(fence), vec![running(Process::Fence)]).len(), 2);
        let report = Seen {
            processes: Vec::new(),
            fence: None,
            fence_problem: String::new(),
            standing: None,
        };
        assert_eq!(judge(&node(), &report, &Err("gone".into()), None).len(), 1);
    }

    #[test]
    fn what_fence_cannot_put_right_is_a_problem() {
        let mut fence = good_fence();
        fence.problems = vec![Repair {
            what: "container web could not be removed".into(),
            why: "no space left".into(),
            since: "2026-01-02T03:04:05Z".parse().ok(),
            tries: 3,
        }];
        let problems = judged(Some(fence), vec![running(Process::Fence)]);
        assert_eq!(
            problems[0].problem,
            "container web could not be removed since 2026-01-02T03:04:05Z: no space left; fence tries again"
        );
    }

    #[test]
    fn a_node_that_is_being_retired_is_told_and_in_order() {
        let mut fence = good_fence();
        fence.retiring = Some(Retiring {
            since: "2026-01-02T03:04:05Z".parse().ok(),
            seconds_left: 540,
            active: 5,
            stopped: 2,
        });
        assert_eq!(judged(Some(fence.clone()), vec![running(Process::Fence)]), []);
        let report = Seen {
            processes: Vec::new(),
            fence: Some(fence),
            fence_problem: String::new(),
            standing: None,
        };
        assert_eq!(
            warn(&report, None),
            [
                "the node is being retired since 2026-01-02T03:04:05Z: 5 of 7 still run, 540 s left \
              (kato node retire --cancel)"
            ]
        );
    }

    #[test]
    fn an_engine_without_live_restore_is_told_and_in_order() {
        let report = Seen {
            processes: Vec::new(),
            fence: None,
            fence_problem: String::new(),
            standing: None,
        };
        assert_eq!(warn(&report, Some(false)).len(), 1);
        assert!(warn(&report, Some(true)).is_empty() && warn(&report, None).is_empty());
    }
}
