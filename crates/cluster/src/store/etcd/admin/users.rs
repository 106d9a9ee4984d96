//! Users, roles and what roles may do. A user is the common name of a certificate; none has a password.

use etcd_client::{Client, Permission, PermissionType, RoleRevokePermissionOptions, UserAddOptions};

use super::super::failure::Refusal;
use super::super::range::bounds;
use super::{Admin, done_if};
use crate::store::Result;

/// What may be done to keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    Read,
    Write,
    ReadWrite,
}

/// Which keys a right is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Keys {
    /// Those that start with this; all if it is empty.
    Prefix(String),
    /// This one alone. To read it, etcd is asked for a range: give the right to a prefix for that.
    One(String),
}

/// What a role may do to some keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Grant {
    pub keys: Keys,
    pub right: Right,
}

impl Keys {
    /// As etcd has them: a single key has no end.
    fn bounds(&self) -> (Vec<u8>, Vec<u8>) {
        match self {
            Keys::Prefix(prefix) => bounds(prefix),
            Keys::One(key) => (key.clone().into_bytes(), Vec::new()),
        }
    }
}

impl Admin {
    /// Make a user who has no password and no role.
    pub async fn add_user(&self, name: &str) -> Result<()> {
        let asked = self.ask("add a user", |mut client: Client| async move {
            client
                .user_add(name, "", Some(UserAddOptions::new().with_no_pwd()))
                .await
        });
        done_if(asked.await, Refusal::Already)
    }

    /// Take a user away. What is open under its name stays open until its member ends it.
    pub async fn delete_user(&self, name: &str) -> Result<()> {
        let asked = self.ask("delete a user", |mut client: Client| async move {
            client.user_delete(name).await
        });
        done_if(asked.await, Refusal::Absent)
    }

    /// The names of all users.
    pub async fn users(&self) -> Result<Vec<String>> {
        let asked = self.ask("list the users", |mut client: Client| async move {
            client.user_list().await
        });
        Ok(asked.await?.users().to_vec())
    }

    /// The roles of a user; `None` if there is no such user.
    pub async fn user_roles(&self, name: &str) -> Result<Option<Vec<String>>> {
        let asked = self.ask("read a user", |mut client: Client| async move {
            client.user_get(name).await
        });
        match asked.await {
            Ok(user) => Ok(Some(user.roles().to_vec())),
            Err(failed) if failed.refusal == Some(Refusal::Absent) => Ok(None),
            Err(failed) => Err(failed.error),
        }
    }

    /// Give a user a role.
    pub async fn grant_role(&self, user: &str, role: &str) -> Result<()> {
        let asked = self.ask("grant a role", |mut client: Client| async move {
            client.user_grant_role(user, role).await
        });
        asked.await?;
        Ok(())
    }

    /// Take a role from a user.
    pub async fn revoke_role(&self, user: &str, role: &str) -> Result<()> {
        let asked = self.ask("revoke a role", |mut client: Client| async move {
            client.user_revoke_role(user, role).await
        });
        done_if(asked.await, Refusal::Absent)
    }

    /// Make a role that may do nothing yet.
    pub async fn add_role(&self, name: &str) -> Result<()> {
        let asked = self.ask(
            "add a role",
            |mut client: Client| async move { client.role_add(name).await },
        );
        done_if(asked.await, Refusal::Already)
    }

    /// Take a role away, from its users as well.
    pub async fn delete_role(&self, name: &str) -> Result<()> {
        let asked = self.ask("delete a role", |mut client: Client| async move {
            client.role_delete(name).await
        });
        done_if(asked.await, Refusal::Absent)
    }

    /// The names of all roles.
    pub async fn roles(&self) -> Result<Vec<String>> {
        let asked = self.ask("list the roles", |mut client: Client| async move {
            client.role_list().await
        });
        Ok(asked.await?.roles().to_vec())
    }

    /// What a role may do; `None` if there is no such role. What this version does not grant is left out.
    pub async fn grants(&self, role: &str) -> Result<Option<Vec<Grant>>> {
        let asked = self.ask("read a role", |mut client: Client| async move {
            client.role_get(role).await
        });
        match asked.await {
            Ok(role) => Ok(Some(role.permissions().iter().filter_map(grant_of).collect())),
            Err(failed) if failed.refusal == Some(Refusal::Absent) => Ok(None),
            Err(failed) => Err(failed.error),
        }
    }

    /// Let a role do something to these keys, instead of what it could do to the same keys before.
    pub async fn grant(&self, role: &str, grant: &Grant) -> Result<()> {
        let permission = permission(grant);
        let asked = self.ask("grant a permission", |mut client: Client| {
            let permission = permission.clone();
            async move { client.role_grant_permission(role, permission).await }
        });
        asked.await?;
        Ok(())
    }

    /// Let a role no longer do anything to these keys, which were granted to it so.
    pub async fn revoke(&self, role: &str, keys: &Keys) -> Result<()> {
        let (from, to) = keys.bounds();
        let asked = self.ask("revoke a permission", |mut client: Client| {
            let (from, options) = (
                from.clone(),
                RoleRevokePermissionOptions::new().with_range_end(to.clone()),
            );
            async move { client.role_revoke_permission(role, from, Some(options)).await }
        });
        done_if(asked.await, Refusal::Absent)
    }

    /// From now on nobody does anything without a right to it. There must be a user `root` with the role `root`. This etcd
    /// (3.4) does not tell whether it is so already; doing it again changes nothing.
    pub async fn enable_auth(&self) -> Result<()> {
        let asked = self.ask("turn on access control", |mut client: Client| async move {
            client.auth_enable().await
        });
        asked.await?;
        Ok(())
    }
}

fn permission(grant: &Grant) -> Permission {
    let (from, to) = grant.keys.bounds();
    let kind = match grant.right {
        Right::Read => PermissionType::Read,
        Right::Write => PermissionType::Write,
        Right::ReadWrite => PermissionType::Readwrite,
    };
    Permission::new(kind, from).with_range_end(to)
}

fn grant_of(permission: &Permission) -> Option<Grant> {
    let right = match PermissionType::try_from(permission.get_type()).ok()? {
        PermissionType::Read => Right::Read,
        PermissionType::Write => Right::Write,
        PermissionType::Readwrite => Right::ReadWrite,
    };
    let (from, to) = (permission.key(), permission.range_end());
    let text = match from {
        [0] => String::new(),
        from => String::from_utf8(from.to_vec()).ok()?,
    };
    let keys = match to {
        [] => Keys::One(text),
        _ => Keys::Prefix(text),
    };
    (keys.bounds().1 == to).then_some(Grant { keys, right })
}
