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
        let (inventory, key) = (self.parts().inventory.clone(), key.to_owned());
        let insert = |record: &mut crate::inventory::Record| drop(record.properties.insert(key, value));
        self.to_the_end(async move { entry.change(&inventory, insert).await })
            .await
    }

    /// Remove a property. One that is not there is removed already.
    pub async fn remove_property(&self, handle: &Handle, key: &str) -> Result<()> {
        let entry = self.entry(handle)?;
        if !entry.record().properties.contains_key(key) {
            return Ok(());
        }
        let (inventory, key) = (self.parts().inventory.clone(), key.to_owned());
        let remove = move |record: &mut crate::inventory::Record| drop(record.properties.remove(&key));
        self.to_the_end(async move { entry.change(&inventory, remove).await })
            .await
    }
}
