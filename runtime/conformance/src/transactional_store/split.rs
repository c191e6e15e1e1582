//! Rules for splitting streams into ranges.

use std::collections::BTreeMap;

use state_migration_core::{
    DueOf, StreamId, StreamRange, TenantId, TransactionalStore, Verdict, WorkflowId,
};

use crate::transactional_store::{
    Broken, Checked, HeadFilter, of_tenant, own, put_each, read_to_end, request,
};
use crate::{holds, same, stream, tenant};

const PROCESSES: usize = 60;

/// Creates processes of a tenant, spread evenly over three versions.
async fn processes(
    store: &dyn TransactionalStore,
    tenant: &TenantId,
) -> Result<(Vec<StreamId>, [WorkflowId; 3]), Broken> {
    let versions = ["v1", "v2", "v3"].map(|version| own(tenant, version));
    let mut all = Vec::new();
    for n in 0..PROCESSES {
        let stream = stream(tenant, &format!("{n:03}"))?;
        all.push((stream, versions[n % 3].clone(), 1));
    }
    put_each(store, &all).await?;
    let streams = all.into_iter().map(|(stream, ..)| stream).collect();
    Ok((streams, versions))
}

fn part(after: &StreamId, through: &StreamId) -> StreamRange {
    StreamRange {
        after: Some(after.clone()),
        through: Some(through.clone()),
    }
}

/// Checks that the ranges cover each of the given ones from its start to its
/// end.
fn check_cover(ranges: &[StreamRange], given: &[StreamRange]) -> Checked {
    let mut rest = ranges.iter();
    for whole in given {
        let mut after = whole.after.clone();
        loop {
            let Some(range) = rest.next() else {
                return Err(Broken(format!(
                    "no range begins after {after:?} in {whole:?}"
                )));
            };
            same("the start of a range", &range.after, &after)?;
            if range.through == whole.through {
                break;
            }
            let Some(through) = &range.through else {
                return Err(Broken(format!(
                    "the range {range:?} is outside of {whole:?}"
                )));
            };
            let inside = whole.through.as_ref().is_none_or(|end| through < end);
            let forward = after.as_ref().is_none_or(|after| after < through);
            holds(
                &format!("the range {range:?} is not a part of {whole:?}"),
                inside && forward,
            )?;
            after = Some(through.clone());
        }
    }
    let extra = rest.next();
    same("an extra range", &extra, &None)
}

pub(crate) async fn cover(store: &dyn TransactionalStore) -> Checked {
    let tenant = tenant();
    let (all, _) = processes(store, &tenant).await?;
    let whole = of_tenant(&tenant);
    let apart = vec![
        part(&all[1], &all[10]),
        part(&all[10], &all[11]),
        part(&all[30], &all[55]),
    ];
    let open = vec![
        StreamRange {
            after: None,
            through: Some(all[20].clone()),
        },
        StreamRange {
            after: Some(all[40].clone()),
            through: None,
        },
    ];
    for given in [vec![whole], apart, open, vec![StreamRange::default()]] {
        for (parts, at_least) in [(1, 1), (2, 1), (5, 1), (7, 4), (1_000, 1)] {
            let split = store
                .split(&given, &HeadFilter::all(), parts, at_least)
                .await?;
            check_cover(&split.ranges, &given)?;
            let most = parts.max(given.len());
            holds(
                &format!(
                    "the number of ranges is {}, expected at most {most} for {parts} parts of {} ranges",
                    split.ranges.len(),
                    given.len()
                ),
                split.ranges.len() <= most,
            )?;
        }
    }
    let split = store.split(&[], &HeadFilter::all(), 3, 1).await?;
    same(
        "the list of ranges for an empty list of ranges",
        &split.ranges,
        &vec![],
    )
}

async fn heads_in(store: &dyn TransactionalStore, range: &StreamRange) -> Result<usize, Broken> {
    let request = request(DueOf::Range(range.clone()));
    let found = read_to_end(store, request, |_| Ok(())).await?;
    Ok(found.processes.len())
}

pub(crate) async fn sizes(store: &dyn TransactionalStore) -> Checked {
    let tenant = tenant();
    let (all, _) = processes(store, &tenant).await?;
    let whole = of_tenant(&tenant);
    for parts in [2, 6, 10] {
        let given = [whole.clone()];
        let split = store.split(&given, &HeadFilter::all(), parts, 1).await?;
        let mut largest = 0;
        for range in &split.ranges {
            largest = largest.max(heads_in(store, range).await?);
        }
        let most = PROCESSES / parts * 3;
        holds(
            &format!(
                "the largest of {parts} ranges has {largest} heads, expected at most {most} of {PROCESSES}"
            ),
            largest <= most,
        )?;
    }
    // Two ranges whose ends no even split matches.
    let uneven = [
        StreamRange {
            through: Some(all[24].clone()),
            ..whole.clone()
        },
        StreamRange {
            after: Some(all[24].clone()),
            ..whole.clone()
        },
    ];
    for (given, at_least) in [
        (vec![whole.clone()], 30),
        (vec![whole.clone()], 20),
        (vec![whole], 100),
        (uneven.to_vec(), 20),
    ] {
        let split = store
            .split(&given, &HeadFilter::all(), 50, at_least)
            .await?;
        for range in split.ranges.iter().filter(|range| !given.contains(range)) {
            let heads = heads_in(store, range).await?;
            // The number of heads in a range is an estimate.
            holds(
                &format!(
                    "a range of a split has {heads} heads, expected at least about {at_least}"
                ),
                heads * 2 >= at_least,
            )?;
        }
    }
    Ok(())
}

pub(crate) async fn counts(store: &dyn TransactionalStore) -> Checked {
    let tenant = tenant();
    let (all, [v1, v2, _]) = processes(store, &tenant).await?;
    let filter = HeadFilter::at([v1.clone(), v2.clone()]).by(|stream, _| {
        match stream.as_str().ends_with('0') {
            true => Verdict::Pass(Default::default()),
            false => Verdict::Due,
        }
    });
    // Of every thirty processes ten are at each version, and one of those ten
    // ends with a 0.
    for (given, heads, due) in [
        (vec![of_tenant(&tenant)], 60, 18),
        (vec![part(&all[29], &all[59])], 30, 9),
        (
            vec![part(&all[5], &all[20]), part(&all[29], &all[44])],
            30,
            0,
        ),
    ] {
        let split = store.split(&given, &filter, 4, 1).await?;
        holds(
            &format!(
                "the number of heads is {}, expected about {heads}",
                split.heads
            ),
            (heads / 2..=heads * 2).contains(&split.heads),
        )?;
        if let Some(mut found) = split.due.filter(|_| due > 0) {
            found.retain(|_, many| *many > 0);
            let wanted = BTreeMap::from([(v1.clone(), due), (v2.clone(), due)]);
            same(
                "the number of due processes at each version",
                &found,
                &wanted,
            )?;
        }
    }
    Ok(())
}
