//! Reading keys: in pages that are all of one revision, so that a large range is neither one huge answer nor a mixture.

use etcd_client::{Client, GetOptions, KeyValue, SortOrder, SortTarget};

use super::call::{Failed, Repeat, call};
use super::connection::Connector;
use super::failure::Refusal;
use super::text;
use crate::store::limits::{MAX_KEY, MAX_VALUE, OPERATION_OVERHEAD};
use crate::store::{Entry, LeaseId, Page, Range, Result, Revision};

/// How many keys are asked for at once.
const PAGE: usize = 128;
/// The largest answer: a page of the largest entries.
pub const MAX_ANSWER: usize = (PAGE + 1) * (MAX_VALUE + MAX_KEY + OPERATION_OVERHEAD);

/// All keys that start with `prefix`, as many as `page` asks for.
pub async fn range(connector: &Connector, prefix: &str, page: Page) -> Result<Range> {
    loop {
        match pages(connector, prefix, page).await {
            // The revision of the first page was forgotten before the last one; the next try has a new one.
            Err(Failed {
                refusal: Some(Refusal::Compacted),
                ..
            }) => {}
            done => return done?,
        }
    }
}

async fn pages(connector: &Connector, prefix: &str, page: Page) -> std::result::Result<Result<Range>, Failed> {
    let (mut from, mut to) = bounds(prefix);
    let mut range = Range::default();
    loop {
        let limit = PAGE.min(page.limit - range.entries.len());
        let mut options = GetOptions::new()
            .with_range(to.clone())
            .with_limit(limit as i64)
            .with_revision(number(range.revision));
        if page.descending {
            options = options.with_sort(SortTarget::Key, SortOrder::Descend);
        }
        let (revision, kvs, more) = ask(connector, &from, options).await?;
        if range.revision == 0 {
            range.revision = revision;
        }
        match (kvs.last(), page.descending) {
            (Some(last), false) => from = [last.key(), &[0]].concat(),
            (Some(last), true) => to = last.key().to_vec(),
            (None, _) => {}
        }
        let is_last = kvs.is_empty() || !more;
        for kv in kvs {
            match entry(kv, connector) {
                Ok(entry) => range.entries.push(entry),
                Err(error) => return Ok(Err(error)),
            }
        }
        if is_last || range.entries.len() >= page.limit {
            return Ok(Ok(range));
        }
    }
}

/// The one key.
pub async fn get(connector: &Connector, key: &str) -> Result<Option<Entry>> {
    let (_, kvs, _) = ask(connector, key.as_bytes(), GetOptions::new()).await?;
    kvs.into_iter().next().map(|kv| entry(kv, connector)).transpose()
}

/// The store's revision, by a question that only needs the right to read `prefix`; refused if `at`, where it is not 0,
/// is forgotten or to come.
pub async fn revision(connector: &Connector, prefix: &str, at: Revision) -> std::result::Result<Revision, Failed> {
    let (from, to) = bounds(prefix);
    let options = GetOptions::new()
        .with_range(to)
        .with_revision(number(at))
        .with_limit(1)
        .with_keys_only();
    ask(connector, &from, options).await.map(|(revision, _, _)| revision)
}

async fn ask(
    connector: &Connector,
    key: &[u8],
    options: GetOptions,
) -> std::result::Result<(Revision, Vec<KeyValue>, bool), Failed> {
    let asked = call(connector, "read", Repeat::Always, |client: Client| {
        let (key, options) = (key.to_vec(), options.clone());
        async move {
            let mut keys = client.kv_client().max_decoding_message_size(MAX_ANSWER);
            keys.get(key, Some(options)).await
        }
    });
    let mut response = asked.await?.value;
    let revision = super::revision(response.header());
    let more = response.more();
    Ok((revision, response.take_kvs(), more))
}

/// The first key of those that start with `prefix`, and the one after the last, in etcd's words.
pub fn bounds(prefix: &str) -> (Vec<u8>, Vec<u8>) {
    let key = prefix.as_bytes();
    // Text has no byte 0xff, so that the last byte always has a next one.
    match key.split_last() {
        Some((last, before)) => (key.to_vec(), [before, &[last + 1]].concat()),
        // All keys: from the first possible one, without an end.
        None => (vec![0], vec![0]),
    }
}

/// A revision as etcd counts.
pub fn number(revision: Revision) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

fn entry(kv: KeyValue, connector: &Connector) -> Result<Entry> {
    let (revision, lease) = (kv.mod_revision().unsigned_abs(), kv.lease());
    let (key, value) = kv.into_key_value();
    Ok(Entry {
        key: text(key, &connector.place())?,
        value,
        revision,
        lease: (lease != 0).then_some(LeaseId(lease)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_its_last_byte_is_one_more() {
        assert_eq!(bounds("a/"), (b"a/".to_vec(), b"a0".to_vec()));
        assert_eq!(bounds("é"), ("é".as_bytes().to_vec(), vec![0xc3, 0xaa]));
        assert_eq!(bounds(""), (vec![0], vec![0]));
    }
}
