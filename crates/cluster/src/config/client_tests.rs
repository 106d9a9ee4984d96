//! The tree in a store: what is written together, what is recorded, what others see, and what is never shown.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::*;
use crate::config::MAX_CHANGES;
use crate::config::key::Component;
use crate::config::layers::HEAD;
use crate::store::Txn;
use crate::store::memory::MemoryStore;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn author() -> Author {
    Author {
        who: "alice".to_owned(),
        command: "kato config set".to_owned(),
    }
}

fn target(component: &str, path: &str) -> Target {
    let (component, path) = (Component::new(component).unwrap(), KeyPath::parse(path).unwrap());
    Target::resolve(&name("here"), None, &component, &path).unwrap()
}

fn new() -> (MemoryStore, Config) {
    let store = MemoryStore::new();
    (store.clone(), Config::new(Arc::new(store), name("here")))
}

async fn set(config: &Config, component: &str, path: &str, value: Value) -> Result<Changed> {
    config.set(&target(component, path), value, false, &author()).await
}

async fn get(config: &Config, component: &str, path: &str) -> Option<Value> {
    config.get(&target(component, path)).await.unwrap()
}

#[tokio::test]
async fn a_value_is_read_back_and_until_then_the_default() {
    let (_, config) = new();
    assert_eq!(get(&config, "fence", "max_containers").await, Some(json!(256)));
    let changed = set(&config, "fence", "max_containers", json!(7)).await.unwrap();
    assert_eq!((changed.value, changed.revision), (Some(json!(7)), 1));
    assert_eq!(get(&config, "fence", "max_containers").await, Some(json!(7)));
    config.del(&target("fence", "max_containers"), &author()).await.unwrap();
    assert_eq!(get(&config, "fence", "max_containers").await, Some(json!(256)));
    assert_eq!(get(&config, "fence", "no/such/key").await, None);
}

#[tokio::test]
async fn a_refused_change_leaves_the_store_as_it_was() {
    let (store, config) = new();
    set(&config, "fence", "max_containers", json!(7)).await.unwrap();
    let before = store.range("", Page::ALL).await.unwrap();
    for value in [json!(-1), json!("x"), json!({"a": 1})] {
        assert!(set(&config, "fence", "max_containers", value).await.is_err());
    }
    let component = json!({"max_containers": 9, "docker": {"image": "BAD"}});
    assert!(set(&config, "fence", "/", component).await.is_err());
    assert!(config.del(&target("fence", "nothing"), &author()).await.is_err());
    assert_eq!(store.range("", Page::ALL).await.unwrap(), before);
}

#[tokio::test]
async fn several_values_are_set_in_one_revision_or_none_of_them() {
    let (_, config) = new();
    let at = |path: &str, value| (target("cluster", path), value);
    let all = |port: i64| [at("registry/location", json!("a:1")), at("registry/port", json!(port))];
    assert!(config.set_all(&all(0), &author()).await.is_err());
    assert_eq!(get(&config, "cluster", "registry/location").await, Some(json!("")));
    config.set_all(&all(5001), &author()).await.unwrap();
    assert_eq!(config.layers().await.unwrap().revision, 1);
}

#[tokio::test]
async fn a_value_is_replaced_where_it_is_what_was_seen() {
    let (_, config) = new();
    let at = target("cluster", "registry/location");
    let replace = async |seen: Option<&Value>, value: &str| {
        let done = config.replace(&at, seen, json!(value), &author()).await.unwrap();
        done.map(|changed| changed.value)
    };
    // The default is nothing that the layer has.
    assert_eq!(replace(Some(&json!("")), "a:1").await, None);
    assert_eq!(replace(None, "a:1").await, Some(Some(json!("a:1"))));
    assert_eq!(replace(None, "b:1").await, None);
    assert_eq!(replace(Some(&json!("a:1")), "b:1").await, Some(Some(json!("b:1"))));
    assert_eq!(replace(Some(&json!("b:1")), "b:1").await, Some(Some(json!("b:1"))));
    assert!(
        config
            .replace(&at, Some(&json!("b:1")), json!("no place"), &author())
            .await
            .is_err()
    );
    assert_eq!(config.layers().await.unwrap().revision, 2);
}

#[tokio::test]
async fn a_component_is_replaced_in_one_revision() {
    let (store, config) = new();
    set(&config, "other", "/", json!({"a": 1, "b": {"c": 2}, "d": [1]}))
        .await
        .unwrap();
    let changed = set(&config, "other", "/", json!({"b": {"c": 3}, "e": true}))
        .await
        .unwrap();
    assert_eq!(
        get(&config, "other", "/").await,
        Some(json!({"b": {"c": 3}, "e": true}))
    );
    let range = store.range("config/cluster/", Page::ALL).await.unwrap();
    assert_eq!(range.revision, changed.revision);
    assert!(range.entries.iter().all(|entry| entry.revision == changed.revision));
}

#[tokio::test]
async fn every_change_is_recorded_with_who_when_what_and_both_values() {
    let (_, config) = new();
    set(&config, "fence", "max_containers", json!(7)).await.unwrap();
    set(&config, "fence", "max_containers", json!(8)).await.unwrap();
    set(&config, "fence", "max_containers", json!(8)).await.unwrap();
    config.del(&target("fence", "max_containers"), &author()).await.unwrap();
    let records = config.history(&Query::newest(10)).await.unwrap().records;
    let told: Vec<_> = records
        .iter()
        .map(|r| (r.number, r.revision, r.changes[0].old.clone(), r.changes[0].new.clone()))
        .collect();
    assert_eq!(
        told,
        [
            (3, 3, Some(json!(8)), None),
            (2, 2, Some(json!(7)), Some(json!(8))),
            (1, 1, None, Some(json!(7)))
        ],
        "a change to the same value is none"
    );
    assert_eq!(
        (records[0].who.as_str(), records[0].command.as_str()),
        ("alice", "kato config set")
    );
    assert_eq!(records[0].changes[0].path.as_str(), "fence/max_containers");
    assert_eq!(config.history(&Query::newest(1)).await.unwrap().records.len(), 1);
}

#[tokio::test]
async fn old_records_are_forgotten_as_the_setting_says() {
    let (store, config) = new();
    for number in 1..=30 {
        set(&config, "x", "y", json!(number)).await.unwrap();
    }
    set(&config, "cluster", "history/keep", json!(10)).await.unwrap();
    for number in 1..=5 {
        set(&config, "x", "y", json!(-number)).await.unwrap();
    }
    let numbers: Vec<u64> = config
        .history(&Query::newest(100))
        .await
        .unwrap()
        .records
        .iter()
        .map(|record| record.number)
        .collect();
    assert_eq!(numbers, (27..=36).rev().collect::<Vec<_>>());
    assert_eq!(store.range("history/", Page::ALL).await.unwrap().entries.len(), 10);
}

#[tokio::test]
async fn a_secret_is_kept_apart_and_shown_only_when_asked_for() {
    let (store, config) = new();
    let (key, hidden) = (target("fence", "registry/password"), json!(REDACTED));
    let changed = config.set(&key, json!("hunter2"), false, &author()).await.unwrap();
    assert_eq!(changed.value, Some(hidden.clone()));
    assert_eq!(config.get(&key).await.unwrap(), Some(hidden.clone()));
    assert_eq!(
        config.get(&target("fence", "registry")).await.unwrap(),
        Some(json!({"password": REDACTED}))
    );
    assert_eq!(
        config.get_with(&key, Secrets::Revealed).await.unwrap(),
        Some(json!("hunter2"))
    );
    assert_eq!(
        config.history(&Query::newest(1)).await.unwrap().records[0].changes[0].new,
        Some(hidden)
    );
    for entry in store.range("", Page::ALL).await.unwrap().entries {
        let holds = String::from_utf8_lossy(&entry.value).contains("hunter2");
        assert_eq!(holds, entry.key.starts_with("secret/"), "{}", entry.key);
    }
    config.del(&key, &author()).await.unwrap();
    assert_eq!(store.range("secret/", Page::ALL).await.unwrap().entries, []);
}

/// What happens before a range with this prefix is read.
type Before = Box<dyn Fn(String) -> Pin<Box<dyn Future<Output = crate::store::Result<()>> + Send>> + Send + Sync>;

/// A store where something happens before it is read.
struct Read(MemoryStore, Before);

#[async_trait::async_trait]
impl Store for Read {
    async fn range(&self, prefix: &str, page: Page) -> crate::store::Result<crate::store::Range> {
        (self.1)(prefix.to_owned()).await?;
        self.0.range(prefix, page).await
    }

    async fn txn(&self, txn: Txn) -> crate::store::Result<Outcome> {
        self.0.txn(txn).await
    }

    async fn watch(&self, prefix: &str, after: u64) -> crate::store::Result<crate::store::Watch> {
        self.0.watch(prefix, after).await
    }

    async fn compact(&self, through: u64) -> crate::store::Result<()> {
        self.0.compact(through).await
    }

    async fn grant(&self, ttl: std::time::Duration) -> crate::store::Result<crate::store::LeaseId> {
        self.0.grant(ttl).await
    }

    async fn keep_alive(&self, lease: crate::store::LeaseId) -> crate::store::Result<()> {
        self.0.keep_alive(lease).await
    }

    async fn revoke(&self, lease: crate::store::LeaseId) -> crate::store::Result<()> {
        self.0.revoke(lease).await
    }
}

#[tokio::test]
async fn a_node_that_may_not_read_secrets_reads_all_else() {
    let (store, admin) = new();
    set(&admin, "fence", "docker/image", json!("a:1")).await.unwrap();
    let denied = |prefix: String| match prefix.starts_with("secret/") {
        true => Err(crate::store::Error::NotGranted {
            place: "here".into(),
            source: "no".into(),
        }),
        false => Ok(()),
    };
    let denied: Before = Box::new(move |prefix| Box::pin(std::future::ready(denied(prefix))));
    let store: Arc<dyn Store> = Arc::new(Read(store, denied));
    let image = target("fence", "docker/image");
    let node = Config::for_node(Arc::clone(&store), name("here"));
    assert_eq!(node.get(&image).await.unwrap(), Some(json!("a:1")));
    assert_eq!(
        node.layers().await.unwrap().revision,
        admin.layers().await.unwrap().revision
    );
    // Also who hoped for more; but what would change or reveal them fails.
    let more = Config::new(store, name("here"));
    assert_eq!(more.get(&image).await.unwrap(), Some(json!("a:1")));
    assert!(more.get_with(&image, Secrets::Revealed).await.is_err());
    assert!(more.layers().await.is_err());
}

#[tokio::test]
async fn a_change_that_comes_while_secrets_are_read_is_not_lost() {
    let (store, other) = new();
    let list = target("x", "password");
    other.push(&list, json!("first"), &author()).await.unwrap();
    let reads = Arc::new(AtomicUsize::new(0));
    let between: Before = Box::new({
        let list = list.clone();
        move |_| {
            let (other, list, reads) = (other.clone(), list.clone(), Arc::clone(&reads));
            Box::pin(async move {
                // Between the two that make one picture of the tree, the first time.
                if reads.fetch_add(1, Ordering::Relaxed) == 1 {
                    other.push(&list, json!("second"), &author()).await.unwrap();
                }
                Ok(())
            })
        }
    });
    let config = Config::new(Arc::new(Read(store, between)), name("here"));
    config.push(&list, json!("third"), &author()).await.unwrap();
    let all = config.get_with(&list, Secrets::Revealed).await.unwrap();
    assert_eq!(all, Some(json!(["first", "second", "third"])));
}

#[tokio::test]
async fn local_is_this_nodes_and_goes_before_the_clusters() {
    let (store, config) = new();
    let elsewhere = Config::new(Arc::new(store), name("elsewhere"));
    set(&config, "local", "fence/max_containers", json!(3)).await.unwrap();
    let changed = set(&config, "fence", "max_containers", json!(9)).await.unwrap();
    assert_eq!((changed.value, changed.hidden_here), (Some(json!(9)), true));
    assert_eq!(get(&config, "fence", "max_containers").await, Some(json!(3)));
    assert_eq!(get(&elsewhere, "fence", "max_containers").await, Some(json!(9)));
    assert_eq!(
        get(&config, "local", "/").await,
        Some(json!({"fence": {"max_containers": 3}}))
    );
    let here = Target {
        scope: Scope::Node(name("here")),
        ..target("fence", "max_containers")
    };
    assert_eq!(elsewhere.get(&here).await.unwrap(), Some(json!(3)));
}

#[tokio::test]
async fn more_changes_than_a_transaction_holds_are_refused_before_anything_is_done() {
    let (store, config) = new();
    let keys = |count: usize| Value::Object((0..count).map(|n| (format!("k{n}"), json!(n))).collect());
    let error = set(&config, "x", "/", keys(MAX_CHANGES + 1)).await.unwrap_err();
    assert!(matches!(error, Error::TooMuch { limit: MAX_CHANGES, .. }), "{error:?}");
    assert_eq!(store.range("", Page::ALL).await.unwrap().entries, []);
    set(&config, "x", "/", keys(MAX_CHANGES)).await.unwrap();
}

#[tokio::test]
async fn a_tree_of_a_newer_format_is_neither_read_nor_changed() {
    let (store, config) = new();
    store
        .txn(Txn::new().put(HEAD, r#"{"format":99,"last":1}"#))
        .await
        .unwrap();
    assert!(matches!(
        config.effective().await,
        Err(Error::NewerFormat { found: 99, .. })
    ));
    assert!(matches!(
        set(&config, "x", "y", json!(1)).await,
        Err(Error::NewerFormat { .. })
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_by_many_at_once_are_all_made_and_all_recorded() {
    const MANY: usize = 8;
    let (_, config) = new();
    let changing: Vec<_> = (0..MANY)
        .map(|n| {
            let config = config.clone();
            tokio::spawn(async move { config.push(&target("x", "list"), json!(n), &author()).await.unwrap() })
        })
        .collect();
    for change in changing {
        change.await.unwrap();
    }
    let Some(Value::Array(mut list)) = get(&config, "x", "list").await else {
        panic!("no list")
    };
    list.sort_by_key(Value::as_u64);
    assert_eq!(list, (0..MANY).map(|n| json!(n)).collect::<Vec<_>>());
    assert_eq!(config.history(&Query::newest(100)).await.unwrap().records.len(), MANY);
}

mod swaps {
    use super::*;
    use crate::config::{Swap, Swapped};
    use crate::store::{Store, Txn};

    fn image(scope: Scope) -> Target {
        Target {
            scope,
            address: KeyPath::parse("fence/docker/image").unwrap(),
            own: true,
        }
    }

    #[tokio::test]
    async fn values_of_several_layers_change_together_and_only_where_they_are_what_was_said() {
        let (store, config) = new();
        let author = author();
        let node = |name: &str| image(Scope::Node(Name::new(name).unwrap()));
        let swap = |target: Target, from: Option<&str>, to: Option<&str>| Swap {
            target,
            from: from.map(|text| json!(text)),
            to: to.map(|text| json!(text)),
        };
        let also = Txn::new().when("mark", 0).put("mark", "1");
        let both = [swap(node("a"), None, Some("x:1")), swap(node("b"), None, Some("x:1"))];
        assert!(matches!(
            config.swap(&both, &also, &author).await.unwrap(),
            Swapped::Done(_)
        ));
        assert_eq!(store.get("mark").await.unwrap().unwrap().value, b"1");
        // What goes with it rests on something that has changed.
        let back = [
            swap(node("a"), Some("x:1"), None),
            swap(image(Scope::Cluster), None, Some("x:1")),
        ];
        assert_eq!(config.swap(&back, &also, &author).await.unwrap(), Swapped::Stale);
        // Somebody else's value is left alone, and so is all the rest.
        let wrong = [swap(node("a"), Some("x:1"), None), swap(node("b"), Some("y:1"), None)];
        let other = config.swap(&wrong, &Txn::new(), &author).await.unwrap();
        assert_eq!(other, Swapped::Other(node("b"), Some(json!("x:1"))));
        assert!(matches!(
            config.swap(&back, &Txn::new(), &author).await.unwrap(),
            Swapped::Done(_)
        ));
        assert_eq!(config.get(&node("a")).await.unwrap(), None);
        assert_eq!(config.get(&image(Scope::Cluster)).await.unwrap(), Some(json!("x:1")));
        // What the schema refuses is refused.
        let odd = [Swap {
            to: Some(json!(7)),
            ..swap(node("c"), None, None)
        }];
        assert!(config.swap(&odd, &Txn::new(), &author).await.is_err());
        let history = config
            .history(&Query {
                limit: 100,
                ..Query::default()
            })
            .await
            .unwrap();
        assert_eq!(history.records.len(), 4, "one a layer and change");
    }
}
