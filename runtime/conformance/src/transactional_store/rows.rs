//! Rules for the bookkeeping rows of runs.

use bytes::Bytes;
use state_migration_core::{Batch, RowWrite, TransactionalStore};

use crate::transactional_store::{Checked, stale, written};
use crate::{same, tenant};

/// Makes keys that no other row of the store has.
pub(crate) fn keys() -> impl Fn(&str) -> Vec<u8> {
    let own = format!("conformance-{}", tenant());
    move |name| format!("{own}/{name}").into_bytes()
}

/// The value of a row.
pub(crate) fn value(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

pub(crate) fn of_rows(rows: Vec<RowWrite>) -> Batch {
    Batch {
        rows,
        ..Batch::default()
    }
}

pub(crate) async fn reading(store: &dyn TransactionalStore) -> Checked {
    let key = keys();
    let prefix = key("");
    let all = store.rows(&prefix, None, 10).await?;
    same("the list of rows before the first write", &all, &vec![])?;
    let row = |name: &str, text| (Bytes::from(key(name)), value(text));
    let wanted = vec![
        row("a", "1"),
        row("a\0", "2"),
        row("b", ""),
        row("b/1", "{\"n\":1}"),
        row("b\u{10ffff}", "5"),
        row("c\0\u{10ffff}", "6"),
    ];
    let writes = wanted.iter().rev();
    let writes = writes.map(|(key, value)| RowWrite::put(key.to_vec(), value.clone()));
    let writes = of_rows(writes.collect());
    written("a batch of rows", &store.commit(&writes).await?)?;
    for (within, after, limit, first, last) in [
        ("", None, 10, 0, 6),
        ("", None, 6, 0, 6),
        ("", None, 1, 0, 1),
        ("", None, 0, 0, 0),
        ("", Some("a"), 2, 1, 3),
        ("", Some("aa"), 10, 2, 6),
        ("", Some("c\0\u{10ffff}"), 10, 6, 6),
        ("b", None, 10, 2, 5),
        ("b", Some("a"), 10, 2, 5),
        ("b", Some("b"), 1, 3, 4),
        ("b", Some("c"), 10, 0, 0),
        ("d", None, 10, 0, 0),
    ] {
        let after_key = after.map(&key);
        let within_key = key(within);
        let found = store.rows(&within_key, after_key.as_deref(), limit);
        same(
            &format!("the list of at most {limit} rows with prefix {within:?} after {after:?}"),
            &found.await?,
            &wanted[first..last].to_vec(),
        )?;
    }
    let removal = of_rows(vec![
        RowWrite::remove(key("b")),
        RowWrite::remove(key("never there")),
        RowWrite::put(key("a"), value("7")),
    ]);
    written("a batch that removes rows", &store.commit(&removal).await?)?;
    let mut left = wanted;
    left.remove(2);
    left[0].1 = value("7");
    let found = store.rows(&prefix, None, 10).await?;
    same(
        "the list of rows after a removal and a change",
        &found,
        &left,
    )
}

pub(crate) async fn expectations(store: &dyn TransactionalStore) -> Checked {
    let key = keys();
    let (one, two) = (value("1"), value("2"));
    let put = |name: &str, expected| RowWrite::put(key(name), value("new")).expecting(expected);
    let first = of_rows(vec![
        RowWrite::put(key("present"), one.clone()),
        RowWrite::put(key("changed"), two.clone()),
    ]);
    written("a batch of rows", &store.commit(&first).await?)?;

    let guards = vec![(key("present"), Some(one.clone())), (key("absent"), None)];
    let only_guards = Batch {
        guards: guards.clone(),
        ..Batch::default()
    };
    let commit = store.commit(&only_guards).await?;
    written(
        "a batch with only guards, which have the expected values",
        &commit,
    )?;
    let expected = Batch {
        guards,
        ..of_rows(vec![
            put("fresh", None),
            put("changed", Some(two.clone())),
            put("blind", None),
        ])
    };
    let commit = store.commit(&expected).await?;
    written("a batch whose expectations are met", &commit)?;
    let all = |names: &[(&str, &'static str)]| {
        let rows = names.iter();
        let rows = rows.map(|(name, text)| (Bytes::from(key(name)), value(text)));
        rows.collect::<Vec<_>>()
    };
    let now = all(&[
        ("blind", "new"),
        ("changed", "new"),
        ("fresh", "new"),
        ("present", "1"),
    ]);
    let rows = store.rows(&key(""), None, 10).await?;
    same(
        "the list of rows after a batch whose expectations are met",
        &rows,
        &now,
    )?;

    let removal = RowWrite::remove(key("present")).expecting(Some(two.clone()));
    for (what, rows, guards, wrong) in [
        (
            "a row that exists and is expected to be absent",
            vec![put("fresh", None)],
            vec![],
            vec!["fresh"],
        ),
        (
            "a row with another value",
            vec![put("changed", Some(two.clone()))],
            vec![],
            vec!["changed"],
        ),
        (
            "a row that is absent and is expected to exist",
            vec![put("absent", Some(one.clone()))],
            vec![],
            vec!["absent"],
        ),
        (
            "a removal of a row with another value",
            vec![removal],
            vec![],
            vec!["present"],
        ),
        (
            "a guard with another value",
            vec![],
            vec![("changed", Some(two.clone()))],
            vec!["changed"],
        ),
        (
            "a guard whose row is absent",
            vec![],
            vec![("absent", Some(one.clone()))],
            vec!["absent"],
        ),
        (
            "a guard whose row is expected to be absent",
            vec![],
            vec![("fresh", None)],
            vec!["fresh"],
        ),
        (
            "two stale rows and a stale guard among others",
            vec![
                put("absent", None),
                put("changed", None),
                put("fresh", Some(one.clone())),
            ],
            vec![("blind", Some(value("new"))), ("present", None)],
            vec!["changed", "fresh", "present"],
        ),
    ] {
        let mut batch = of_rows(rows);
        batch.rows.push(RowWrite::put(key("beside"), value("new")));
        batch.guards = guards
            .into_iter()
            .map(|(name, held)| (key(name), held))
            .collect();
        let wrong: Vec<Vec<u8>> = wrong.into_iter().map(&key).collect();
        let commit = store.commit(&batch).await?;
        stale(&format!("a batch with {what}"), &commit, &[], &wrong)?;
        let rows = store.rows(&key(""), None, 10).await?;
        same(
            &format!("the list of rows after a batch with {what}"),
            &rows,
            &now,
        )?;
    }
    Ok(())
}
