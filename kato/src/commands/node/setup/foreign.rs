//! What a machine may have from another cluster, and a set-up of a core must not put its own in the place of.

use cluster::identity::{Ca, Credential, Pki};
use cluster::nodes::Paths;

use crate::error::{Error, Result};

/// Refuse where an administrator's credential is here that the core of this machine has not made: it may be the only one.
pub fn refuse_credential(paths: &Paths) -> Result<()> {
    let file = paths.credential_file();
    let known = match Credential::load(&file) {
        Err(error) if error.is_missing() => return Ok(()),
        known => known,
    };
    let shown = file.display();
    let is_own = |known: &Credential| Ca::load(Pki::new(paths.pki()).directory()).is_ok_and(|ca| ca.pem() == known.ca);
    let refused = match known {
        Ok(known) if is_own(&known) => return Ok(()),
        Ok(known) => {
            let name = &known.name;
            Error::refused(format!(
                "{shown} is the credential of {name}, an administrator of another cluster"
            ))
        }
        Err(error) => {
            Error::refused(format!("{shown} is in the way of the credential that is to be made")).because(error)
        }
    };
    Err(refused.hint(format!("mv {shown} {shown}.old")))
}
