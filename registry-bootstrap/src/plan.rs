//! What is missing for a registry that is as it should be: from what is wanted and what is there, the steps between. Pure.

use engine::ContainerId;

/// The registry as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its settings.
    pub settings: String,
    /// What a container of it is known by: whatever it is made of is in this.
    pub made_as: String,
}

/// What is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The settings, where there are any.
    pub settings: Option<String>,
    /// The certificate is missing, of another key, or to be renewed.
    pub certificate_is_due: bool,
    /// Its containers.
    pub containers: Vec<Present>,
}

/// A container of the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    /// Its id.
    pub id: ContainerId,
    /// What it is known by.
    pub made_as: String,
    /// Whether it runs.
    pub runs: bool,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Sign its certificate.
    Sign,
    /// Write its settings.
    Configure,
    /// Take a container away.
    Remove(ContainerId),
    /// Make a container of the image, looking for that first, and start it.
    Create,
    /// End a container in order.
    Stop(ContainerId),
    /// Start one.
    Start(ContainerId),
}

/// The steps from what is there to what is wanted, in their order; none where all is as it should be.
pub fn plan(wanted: &Wanted, seen: &Seen) -> Vec<Step> {
    let mut steps = Vec::new();
    let is_news = seen.settings.as_ref() != Some(&wanted.settings);
    // Other settings may mean another name.
    if seen.certificate_is_due || is_news {
        steps.push(Step::Sign);
    }
    if is_news {
        steps.push(Step::Configure);
    }
    let must_read_anew = !steps.is_empty();
    // One that runs goes before one that does not.
    let right = |one: &&Present| one.made_as == wanted.made_as;
    let kept = seen
        .containers
        .iter()
        .filter(right)
        .max_by_key(|one| one.runs)
        .map(|one| &one.id);
    let others = seen.containers.iter().filter(|one| Some(&one.id) != kept);
    steps.extend(others.map(|one| Step::Remove(one.id.clone())));
    let Some(kept) = seen.containers.iter().find(|one| Some(&one.id) == kept) else {
        steps.push(Step::Create);
        return steps;
    };
    match (kept.runs, must_read_anew) {
        (true, true) => steps.extend([Step::Stop(kept.id.clone()), Step::Start(kept.id.clone())]),
        (true, false) => {}
        (false, _) => steps.push(Step::Start(kept.id.clone())),
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        Wanted {
            settings: "now".to_owned(),
            made_as: "new".to_owned(),
        }
    }

    fn id(text: &str) -> ContainerId {
        ContainerId(text.to_owned())
    }

    fn present(name: &str, made_as: &str, runs: bool) -> Present {
        Present {
            id: id(name),
            made_as: made_as.to_owned(),
            runs,
        }
    }

    fn seen(settings: &str, containers: &[Present]) -> Seen {
        Seen {
            settings: Some(settings.to_owned()),
            certificate_is_due: false,
            containers: containers.to_vec(),
        }
    }

    #[test]
    fn from_nothing_everything_is_done() {
        let nothing = Seen {
            certificate_is_due: true,
            ..Seen::default()
        };
        assert_eq!(plan(&wanted(), &nothing), [Step::Sign, Step::Configure, Step::Create]);
    }

    #[test]
    fn what_is_right_is_left_alone() {
        let right = seen("now", &[present("a", "new", true)]);
        assert_eq!(plan(&wanted(), &right), []);
    }

    #[test]
    fn what_was_made_and_does_not_run_is_started() {
        let made = seen("now", &[present("a", "new", false)]);
        assert_eq!(plan(&wanted(), &made), [Step::Start(id("a"))]);
    }

    #[test]
    fn a_container_of_something_else_is_replaced() {
        let old = seen("now", &[present("a", "old", true), present("b", "old", false)]);
        assert_eq!(
            plan(&wanted(), &old),
            [Step::Remove(id("a")), Step::Remove(id("b")), Step::Create]
        );
    }

    #[test]
    fn of_two_the_one_that_runs_stays() {
        let two = seen("now", &[present("a", "new", false), present("b", "new", true)]);
        assert_eq!(plan(&wanted(), &two), [Step::Remove(id("a"))]);
    }

    #[test]
    fn a_new_certificate_or_new_settings_are_read_by_a_restart() {
        let restart = [Step::Stop(id("a")), Step::Start(id("a"))];
        let mut due = seen("now", &[present("a", "new", true)]);
        due.certificate_is_due = true;
        assert_eq!(plan(&wanted(), &due), [&[Step::Sign], &restart[..]].concat());
        let stale = seen("before", &[present("a", "new", true)]);
        assert_eq!(
            plan(&wanted(), &stale),
            [&[Step::Sign, Step::Configure], &restart[..]].concat()
        );
    }
}
