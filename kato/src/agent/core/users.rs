//! The config store's users follow the records: one for each paired node and each administrator, and nobody else.
//!
//! What each may do is here, and only here. A user's name holds the beginning of its key's fingerprint, so that a name
//! given to another key is another user.

use cluster::identity::{Fingerprint, Subject};
use cluster::nodes::Record;
use cluster::pairing::Administrator;
use cluster::store::Result;
use cluster::store::etcd::admin::{Admin, Grant, Right};
use tracing::info;

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
        let grant = |prefix: String, right| Grant { prefix, right };
        let read = ["config/", "node/", "realm/", "state/"].map(|prefix| grant(prefix.to_owned(), Right::Read));
        let mut grants = read.to_vec();
        grants.push(grant(format!("wanted/{id}/"), Right::Read));
        grants.push(grant(format!("state/{id}/"), Right::ReadWrite));
        Some(User {
            name: Subject::Node { id }.common_name(&key)?,
            role: format!("node-{id}"),
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
                prefix: String::new(),
                right: Right::ReadWrite,
            }],
        })
    }
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
        admin.revoke(&user.role, &stale.prefix).await?;
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

/// Make the users those of the records, and no others; whoever was put out. A user is known to be right by its name alone:
/// what its role may do is settled when it is let in.
pub async fn follow(admin: &Admin, wanted: &[User]) -> Result<Vec<String>> {
    let present = admin.users().await?;
    for user in wanted.iter().filter(|user| !present.contains(&user.name)) {
        let_in(admin, user).await?;
        info!(user = user.name, "let in");
    }
    let mut out = Vec::new();
    for name in present {
        if name != ROOT && !wanted.iter().any(|user| user.name == name) {
            admin.delete_user(&name).await?;
            info!(user = name, "put out");
            out.push(name);
        }
    }
    for role in admin.roles().await? {
        if role != ROOT && role != ADMINISTRATOR && !wanted.iter().any(|user| user.role == role) {
            admin.delete_role(&role).await?;
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::config::Name;
    use cluster::nodes::{DockerSettings, NodeFile};

    #[test]
    fn a_node_writes_nothing_but_its_own_state_and_reads_no_secret() {
        let node = NodeFile::micro(&Name::new("one").unwrap(), DockerSettings::default());
        let mut record = Record::of_node(&node, "admin");
        assert_eq!(User::of_node(&record), None);
        record.fingerprint = Fingerprint::of(b"key").to_string();
        let user = User::of_node(&record).unwrap();
        let writes: Vec<&str> = user
            .grants
            .iter()
            .filter(|grant| grant.right != Right::Read)
            .map(|grant| grant.prefix.as_str())
            .collect();
        assert_eq!(writes, [format!("state/{}/", node.id)]);
        for hidden in [
            "secret/x",
            "history/1",
            "pairing/token/x",
            "admin/x",
            "wanted/other/fence",
        ] {
            assert!(
                !user.grants.iter().any(|grant| hidden.starts_with(&grant.prefix)),
                "{hidden}"
            );
        }
    }
}
