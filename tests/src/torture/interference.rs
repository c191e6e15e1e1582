//! Interference with a program: other programs read its store and take it over, and
//! SlateDB fails at its fail points.

use fastrand::Rng;
use slatedb::fail_parallel;
use state_migration::ErrorKind;

use super::check;
use super::life::Life;
use super::model::Wrong;
use super::operations::append_some;
use super::steps::FailPoint;
use super::world::End;

/// Another handle reads everything, slowly, while files are written, compacted
/// and collected. It may fail, and must not see less than there was or more.
pub(super) async fn scan(life: &Life<'_>, rng: &mut Rng) -> Result<(), Wrong> {
    check::touched(life.held()).await?;
    let at_least: Vec<_> = {
        let model = life.world.model.borrow();
        let streams = model.streams.iter();
        streams.map(|s| (s.id().clone(), s.durable())).collect()
    };
    let Ok(reader) = life.world.builder(&life.faults).open_reader().await else {
        life.world.count("reads that failed");
        return Ok(());
    };
    let pause = rng.u64(1..2_000);
    let reads = async {
        let mut seen = Vec::new();
        for (stream, _) in &at_least {
            seen.push(check::read(&reader, stream, 0).await);
            tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
        }
        seen
    };
    let mut writes = rng.clone();
    let (seen, written) = tokio::join!(reads, append_some(life, &mut writes, 20));
    written?;
    if life.is_closed() {
        return Ok(());
    }
    check::touched(life.held()).await?;
    for (n, (seen, (stream, at_least))) in seen.into_iter().zip(at_least).enumerate() {
        match seen {
            Ok(seen) => {
                life.world.count("streams read by a reader");
                life.world.model.borrow().streams[n].check_read(at_least, &seen)?;
            }
            Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NewerFormat) => {
                return Err(Wrong::unread(
                    format!("a reader cannot read {stream}"),
                    &error,
                ));
            }
            Err(_) => life.world.count("reads that failed"),
        }
    }
    Ok(())
}

/// Another writer opens the store. This one writes meanwhile, and is never
/// acknowledged once the other one is in.
pub(super) async fn fence(life: &mut Life<'_>, rng: &mut Rng) -> Result<Option<End>, Wrong> {
    let mut writes = rng.clone();
    let opens = life.world.open(&life.clock, &life.faults);
    let (opened, written) = tokio::join!(opens, append_some(life, &mut writes, 6));
    written?;
    let Ok((store, fail_points)) = opened else {
        return Ok(Some(End::Restart));
    };
    let before = life.world.counts.borrow().get("appends");
    append_some(life, rng, 2).await?;
    if life.world.counts.borrow().get("appends") > before {
        return Err(Wrong::other("a write of a fenced writer was acknowledged"));
    }
    life.world.count("writers fenced");
    life.store = store;
    life.fail_points = fail_points;
    life.faults.set(rng.u64(..), super::faults::Rates::NONE);
    check::whole(life.held(), true).await?;
    Ok(None)
}

/// A fail point of SlateDB goes off once.
pub(super) async fn fail_point(
    life: &Life<'_>,
    rng: &mut Rng,
    point: FailPoint,
) -> Result<(), Wrong> {
    let set = fail_parallel::cfg(life.fail_points.clone(), point.name(), "1*return");
    set.map_err(Wrong::other)?;
    append_some(life, rng, 3).await?;
    let waits = still_waits(life, point);
    fail_parallel::remove(life.fail_points.clone(), point.name());
    if !waits {
        life.world.count(match point {
            FailPoint::PreCommit => "fault: fail point before a commit",
            FailPoint::PostCommit => "fault: fail point after a commit",
            FailPoint::WalWrite => "fault: fail point at the log",
        });
    }
    Ok(())
}

/// Whether a fail point has not gone off. To ask is to set it off.
fn still_waits(life: &Life<'_>, point: FailPoint) -> bool {
    fail_parallel::fail_point!(life.fail_points.clone(), point.name(), |_| true);
    false
}
