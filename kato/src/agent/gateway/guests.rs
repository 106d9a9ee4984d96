//! The config store's users follow the records: one for each paired node and each administrator, and nobody else.
//!
//! What each may do is here, and only here. A user's name holds the beginning of its key's fingerprint, so that a name
//! given to another key is another user.

use cluster::config::Name;
use cluster::identity::{Fingerprint, Subject};
use cluster::nodes::Record;
use cluster::nodes::report::{alive_key, report_key};
use cluster::pairing::Administrator;
use cluster::process::orders_prefix;
use cluster::store::Result;
use cluster::store::etcd::admin::{Admin, Grant, Keys, Right};
use tracing::{info, warn};
use uuid::Uuid;

use super::cut::Mark;
use super::records::Records;
use crate::error::chain;

/// The role of administrators.
const ADMINISTRATOR: &str = "administrator";
/// The store's own user, and its role.
pub const ROOT: &str = "root";

/// A user, its role, and what that may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The certificate's common name.
    pub name: String,
    /// Its one role.
    pub role: String,
    /// What the role may do, and nothing else.
    pub grants: Vec<Grant>,
}

impl User {
    /// Of a node: it reads what is not secret, and writes what is its own state. `None` where its record names no key.
    pub fn of_node(record: &Record) -> Option<Self> {
        let key: Fingerprint = record.fingerprint.parse().ok()?;
        let id = record.id;
        let reads = ["config/", "node/", "realm/", "state/"].map(str::to_owned);
        let reads = reads.into_iter().chain([orders_prefix(id)]).map(Keys::Prefix);
        // Key by key, for a node that writes without end is everybody's matter.
        let writes = [alive_key(id), report_key(id)].map(Keys::One);
        let grant = |right| move |keys| Grant { keys, right };
        let reads = reads.map(grant(Right::Read));
        let grants = reads.chain(writes.into_iter().map(grant(Right::Write))).collect();
        Some(User {
            name: Subject::Node { id }.common_name(&key)?,
            role: nodes_owner(id),
            grants,
        })
    }

    /// Of an administrator: all keys. Users and members stay with the core.
    pub fn of_administrator(administrator: &Administrator) -> Option<Self> {
        let subject = Subject::Administrator {
            name: administrator.name.clone(),
        };
        Some(User {
            name: subject.common_name(&administrator.fingerprint)?,
            role: ADMINISTRATOR.to_owned(),
            grants: vec![Grant {
                keys: Keys::Prefix(String::new()),
                right: Right::ReadWrite,
            }],
        })
    }
}

/// Whose a user is: its name without the key, as [`nodes_owner`] and [`administrators_owner`] have it.
fn owner(user: &str) -> &str {
    user.rsplit_once('-').map_or(user, |(owner, _)| owner)
}

/// How the users of a node begin, which is also its role.
pub fn nodes_owner(id: Uuid) -> String {
    format!("node-{id}")
}

/// How the users of an administrator begin.
pub fn administrators_owner(name: &Name) -> String {
    format!("admin-{name}")
}

/// Let a user in; done already is done.
pub async fn let_in(admin: &Admin, user: &User) -> Result<()> {
    let roles = admin.user_roles(&user.name).await?;
    let present = admin.grants(&user.role).await?;
    if present.is_none() {
        admin.add_role(&user.role).await?;
    }
    let present = present.unwrap_or_default();
    for stale in present.iter().filter(|grant| !user.grants.contains(grant)) {
        admin.revoke(&user.role, &stale.keys).await?;
    }
    for missing in user.grants.iter().filter(|grant| !present.contains(grant)) {
        admin.grant(&user.role, missing).await?;
    }
    if roles.is_none() {
        admin.add_user(&user.name).await?;
    }
    if !roles.is_some_and(|roles| roles.contains(&user.role)) {
        admin.grant_role(&user.name, &user.role).await?;
    }
    Ok(())
}

/// The store's own user, and from then on nobody without a right.
pub async fn lock(admin: &Admin) -> Result<()> {
    admin.add_role(ROOT).await?;
    admin.add_user(ROOT).await?;
    admin.grant_role(ROOT, ROOT).await?;
    admin.enable_auth().await
}

/// Whom and what the store has. To be read before the records: a record comes before its user, so that none of whom is
/// let in meanwhile is held for one without a record.
pub struct Present {
    users: Vec<String>,
    roles: Vec<String>,
}

impl Present {
    /// Those of now.
    pub async fn read(admin: &Admin) -> Result<Self> {
        Ok(Present {
            users: admin.users().await?,
            roles: admin.roles().await?,
        })
    }

    /// The users who are to be in no more.
    fn stale_users(&self, records: &Records) -> Vec<&String> {
        let stays = |name: &String| {
            name == ROOT
                || records.users.iter().any(|user| user.name == *name)
                || records.kept.iter().any(|kept| kept == owner(name))
        };
        self.users.iter().filter(|name| !stays(name)).collect()
    }

    /// The roles that nobody needs any more.
    fn stale_roles(&self, records: &Records) -> Vec<&String> {
        let stays = |role: &String| {
            role == ROOT
                || role == ADMINISTRATOR
                || records.users.iter().any(|user| user.role == *role)
                || records.kept.contains(role)
        };
        self.roles.iter().filter(|role| !stays(role)).collect()
    }
}

/// Put out who is to be in no more: whether connections are to be cut now, and whether all of them are out. The mark is set
/// before the first of them is. One who cannot be put out keeps nobody else in.
pub async fn put_out(admin: &Admin, present: &Present, records: &Records, mark: &Mark) -> (bool, Result<()>) {
    let (stale, was_due) = (present.stale_users(records), mark.is_set());
    if !stale.is_empty() {
        mark.set();
    }
    let (mut is_any_out, mut done) = (false, Ok(()));
    for name in stale {
        match admin.delete_user(name).await {
            Ok(()) => {
                info!(user = name, "put out");
                is_any_out = true;
            }
            Err(error) => done = failed(name, error),
        }
    }
    // For one who cannot be put out, members are not restarted again and again.
    (is_any_out || (was_due && done.is_ok()), done)
}

/// Let in who is to be, and make whole what was begun. What a role may do is settled when its user is let in.
pub async fn let_all_in(admin: &Admin, present: &Present, records: &Records) -> Result<()> {
    let mut done = Ok(());
    for user in &records.users {
        let is_in = match present.users.contains(&user.name) {
            true => is_whole(admin, user).await,
            false => Ok(false),
        };
        let now = match is_in {
            Ok(true) => continue,
            Ok(false) => let_in(admin, user).await,
            Err(error) => Err(error),
        };
        match now {
            Ok(()) => info!(user = user.name, "let in"),
            Err(error) => done = failed(&user.name, error),
        }
    }
    done
}

async fn is_whole(admin: &Admin, user: &User) -> Result<bool> {
    let roles = admin.user_roles(&user.name).await?;
    Ok(roles.is_some_and(|roles| roles.contains(&user.role)))
}

/// Take away the roles that nobody needs any more.
pub async fn tidy(admin: &Admin, present: &Present, records: &Records) -> Result<()> {
    for role in present.stale_roles(records) {
        admin.delete_role(role).await?;
    }
    Ok(())
}

/// Tell of it, so that the others are gone on with.
fn failed(user: &str, error: cluster::store::Error) -> Result<()> {
    warn!(user, error = %chain(&error), "a user of the config store could not be put in order");
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::nodes::{DockerSettings, NodeFile};

    #[test]
    fn a_node_writes_nothing_but_its_own_state_and_reads_no_secret() {
        let node = NodeFile::micro(&Name::new("one").unwrap(), DockerSettings::default());
        let mut record = Record::of_node(&node, "admin");
        assert_eq!(User::of_node(&record), None);
        record.fingerprint = Fingerprint::of(b"key").to_string();
        let user = User::of_node(&record).unwrap();
        let (reads, writes): (Vec<&Grant>, Vec<&Grant>) =
            user.grants.iter().partition(|grant| grant.right == Right::Read);
        let own = |key: &str| Keys::One(format!("state/{}/{key}", node.id));
        let writes: Vec<&Keys> = writes.iter().map(|grant| &grant.keys).collect();
        assert_eq!(writes, [&own("alive"), &own("report")]);
        for hidden in [
            "secret/x",
            "history/1",
            "pairing/token/x",
            "admin/x",
            "wanted/other/fence",
        ] {
            let is_read = |grant: &&Grant| matches!(&grant.keys, Keys::Prefix(prefix) if hidden.starts_with(prefix));
            assert!(!reads.iter().any(is_read), "{hidden}");
        }
    }

    #[test]
    fn who_is_not_known_stays_and_who_has_no_record_goes() {
        let node = NodeFile::micro(&Name::new("one").unwrap(), DockerSettings::default());
        let mut record = Record::of_node(&node, "admin");
        record.fingerprint = Fingerprint::of(b"key").to_string();
        let wanted = User::of_node(&record).unwrap();
        let lost = Uuid::from_u128(1);
        let records = Records {
            users: vec![wanted.clone()],
            kept: vec![nodes_owner(lost), administrators_owner(&Name::new("a").unwrap())],
            ..Records::default()
        };
        let old_key = format!("{}-0000", wanted.role);
        let lost_user = format!("node-{lost}-0123");
        let users = [
            ROOT,
            &wanted.name,
            &lost_user,
            "admin-a-0123",
            "admin-a-b-0123",
            &old_key,
            "friend",
        ];
        let roles = [ROOT, ADMINISTRATOR, &wanted.role, &nodes_owner(lost), "node-x"];
        let present = Present {
            users: users.map(str::to_owned).to_vec(),
            roles: roles.map(str::to_owned).to_vec(),
        };
        assert_eq!(
            present.stale_users(&records),
            ["admin-a-b-0123", old_key.as_str(), "friend"]
        );
        assert_eq!(present.stale_roles(&records), ["node-x"]);
    }
}
