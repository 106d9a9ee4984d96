//! The keeper against a fake engine: what is used when, and what is said of it.

use engine::fake::Fake;

use super::*;

/// Wants what the test says.
struct Said {
    names: watch::Sender<Vec<String>>,
    heard: tokio::sync::Mutex<watch::Receiver<Vec<String>>>,
}

#[async_trait]
impl Wanted for Said {
    async fn now(&self) -> Vec<String> {
        self.names.borrow().clone()
    }

    async fn changed(&self) {
        let _ = self.heard.lock().await.changed().await;
    }
}

struct Setting {
    dir: tempfile::TempDir,
    engine: Fake,
    said: Arc<Said>,
}

impl Setting {
    fn new(wanted: &[&str]) -> Setting {
        let (names, heard) = watch::channel(Vec::new());
        let said = Arc::new(Said {
            names,
            heard: tokio::sync::Mutex::new(heard),
        });
        let setting = Setting {
            dir: tempfile::tempdir().unwrap(),
            engine: Fake::new(),
            said,
        };
        setting.want(wanted);
        setting
    }

    fn want(&self, names: &[&str]) {
        self.said
            .names
            .send_replace(names.iter().map(|name| (*name).to_owned()).collect());
    }

    fn keeper(&self) -> Keeper {
        Keeper::new(
            Arc::new(self.engine.clone()),
            self.said.clone(),
            self.dir.path().join("in-use.json"),
            self.dir.path().join("accounts.json"),
        )
    }
}

mod fixture_tests {
    use fixtures::{kept, pin, with_additions};

    use super::*;

    #[tokio::test]
    async fn what_each_version_remembers_stays_in_use() {
        let setting = Setting::new(&["nowhere:1"]);
        setting.engine.add_image("a:1");
        let image = find(&setting.engine, "a:1").await.unwrap().unwrap();
        let path = setting.dir.path().join("in-use.json");
        // Ids are the engine's own.
        let id = "sha256:0123";
        setting.keeper().inner.memory.keep("a:1", id);
        pin("image-in-use.json", &std::fs::read_to_string(&path).unwrap());
        for version in kept("image-in-use.json") {
            for text in [version.text.clone(), with_additions(&version.text)] {
                std::fs::write(&path, text.replace(id, &image.id.0)).unwrap();
                let keeper = setting.keeper();
                let in_use = keeper.current().await.unwrap();
                assert_eq!((in_use.name.as_str(), in_use.image.id), ("a:1", image.id.clone()));
            }
        }
    }
}

#[tokio::test]
async fn a_change_is_in_effect_for_the_next_create() {
    let setting = Setting::new(&["a:1"]);
    setting.engine.add_image("a:1");
    setting.engine.add_image("b:1");
    let keeper = setting.keeper();
    assert_eq!(keeper.current().await.unwrap().name, "a:1");
    setting.want(&["b:1"]);
    assert_eq!(keeper.current().await.unwrap().name, "b:1");
}

#[tokio::test]
async fn a_missing_image_leaves_the_previous_one_in_use_and_says_so() {
    let setting = Setting::new(&["a:1"]);
    setting.engine.add_image("a:1");
    let keeper = setting.keeper();
    keeper.current().await.unwrap();
    setting.want(&["nowhere:1"]);
    assert!(!keeper.resolve(&keeper.inner.wanted.now().await).await);
    assert_eq!(keeper.current().await.unwrap().name, "a:1");
    let status = keeper.status();
    assert_eq!((status.state, status.in_use.as_str()), (KeeperState::Missing, "a:1"));
    assert!(status.problem.contains("nowhere:1"), "{}", status.problem);
}

#[tokio::test]
async fn going_back_from_a_missing_image_is_in_order_again() {
    let setting = Setting::new(&["a:1"]);
    setting.engine.add_image("a:1");
    let keeper = setting.keeper();
    keeper.current().await.unwrap();
    setting.want(&["nowhere:1"]);
    assert!(!keeper.resolve(&keeper.inner.wanted.now().await).await);
    setting.want(&["a:1"]);
    assert!(keeper.resolve(&keeper.inner.wanted.now().await).await);
    let status = keeper.status();
    assert_eq!((status.state, status.problem.as_str()), (KeeperState::Ok, ""));
}

#[tokio::test]
async fn a_restart_while_the_image_is_missing_keeps_the_one_used_before() {
    let setting = Setting::new(&["a:1"]);
    setting.engine.add_image("a:1");
    setting.keeper().current().await.unwrap();
    setting.want(&["nowhere:1"]);
    assert_eq!(setting.keeper().current().await.unwrap().name, "a:1");
}

#[tokio::test]
async fn what_is_not_here_is_pulled_and_a_fallback_serves_meanwhile() {
    let setting = Setting::new(&["new:1", "old:1"]);
    setting.engine.add_image("old:1");
    let keeper = setting.keeper();
    assert_eq!(keeper.current().await.unwrap().name, "old:1");
    assert!(!keeper.resolve(&keeper.inner.wanted.now().await).await);
    assert_eq!(keeper.status().state, KeeperState::Ok);
    setting.engine.publish("new:1", engine::fake::image(&["run"]));
    assert!(keeper.resolve(&keeper.inner.wanted.now().await).await);
    assert_eq!(keeper.current().await.unwrap().name, "new:1");
}

#[tokio::test]
async fn with_no_image_at_all_the_error_names_it() {
    let setting = Setting::new(&["nowhere:1"]);
    let keeper = setting.keeper();
    keeper.resolve(&keeper.inner.wanted.now().await).await;
    let error = keeper.current().await.unwrap_err();
    assert!(error.to_string().contains("nowhere:1"), "{error}");
    assert!(!error.is_temporary(), "{error}");
}

#[tokio::test]
async fn an_engine_that_is_away_does_not_make_the_image_missing() {
    let setting = Setting::new(&["a:1"]);
    setting.engine.go_down();
    let keeper = setting.keeper();
    keeper.resolve(&keeper.inner.wanted.now().await).await;
    assert!(keeper.current().await.unwrap_err().is_temporary());
}

async fn until_in_use(keeper: &Keeper, name: &str) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while keeper.status().in_use != name || keeper.status().state != KeeperState::Ok {
        assert!(tokio::time::Instant::now() < deadline, "{:?}", keeper.status());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_create_that_is_faster_than_the_keeper_does_not_keep_it_from_pulling() {
    let setting = Setting::new(&["a:1"]);
    setting.engine.add_image("a:1");
    setting.engine.publish("b:1", engine::fake::image(&["run"]));
    let keeper = setting.keeper();
    let running = tokio::spawn({
        let keeper = keeper.clone();
        async move { keeper.run().await }
    });
    until_in_use(&keeper, "a:1").await;
    setting.want(&["b:1"]);
    assert_eq!(keeper.current().await.unwrap().name, "a:1");
    until_in_use(&keeper, "b:1").await;
    running.abort();
}

#[tokio::test]
async fn an_image_removed_while_it_is_in_use_is_pulled_again() {
    let setting = Setting::new(&["a:1"]);
    setting.engine.publish("a:1", engine::fake::image(&["run"]));
    let keeper = setting.keeper();
    let running = tokio::spawn({
        let keeper = keeper.clone();
        async move { keeper.run().await }
    });
    until_in_use(&keeper, "a:1").await;
    let pulls = setting.engine.calls(engine::fake::Step::Pull);
    setting.engine.remove_image("a:1").await.unwrap();
    keeper.nudge();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while setting.engine.calls(engine::fake::Step::Pull) == pulls {
        assert!(tokio::time::Instant::now() < deadline, "{:?}", keeper.status());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    until_in_use(&keeper, "a:1").await;
    running.abort();
}
