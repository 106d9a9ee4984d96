//! Free text that clients keep with a container.

use super::{Error, Result, Supervisor};
use crate::container::{Handle, Properties, check_properties};

impl Supervisor {
    /// All properties of a container.
    pub fn properties(&self, handle: &Handle) -> Result<Properties> {
        Ok(self.entry(handle)?.record().properties.clone())
    }

    /// One property.
    pub fn property(&self, handle: &Handle, key: &str) -> Result<String> {
        let entry = self.entry(handle)?;
        let value = entry.record().properties.get(key).cloned();
        value.ok_or_else(|| Error::PropertyNotFound {
            handle: handle.clone(),
            key: key.to_owned(),
        })
    }

    /// Set a property, new or not.
    pub async fn set_property(&self, handle: &Handle, key: &str, value: String) -> Result<()> {
        let entry = self.entry(handle)?;
        let mut properties = entry.record().properties.clone();
        properties.insert(key.to_owned(), value.clone());
        check_properties(&properties).map_err(|problem| Error::Spec(crate::container::SpecError(problem)))?;
        let insert = |record: &mut crate::inventory::Record| drop(record.properties.insert(key.to_owned(), value));
        entry.change(&self.parts().inventory, insert).await
    }

    /// Remove a property. One that is not there is removed already.
    pub async fn remove_property(&self, handle: &Handle, key: &str) -> Result<()> {
        let entry = self.entry(handle)?;
        if !entry.record().properties.contains_key(key) {
            return Ok(());
        }
        entry
            .change(&self.parts().inventory, |record| drop(record.properties.remove(key)))
            .await
    }
}
