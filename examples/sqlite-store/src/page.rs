//! Pages of due processes: the heads of a range, and the events of those that
//! the filter selects, as of one instant.

use rusqlite::{Transaction, params};
use state_migration::{
    ChunkEvent, ChunkProblem, DueFilter, DueOf, DuePage, DueProcess, DueRequest, Error, ErrorKind,
    Head, StreamId, StreamRange, Verdict,
};

use crate::Failure;
use crate::convert::{self, integer, limit, number, read_head};

pub(crate) fn read(
    transaction: &Transaction<'_>,
    request: &DueRequest,
) -> Result<DuePage, Failure> {
    let (heads, at_end) = heads(transaction, request)?;
    let mut page = DuePage {
        at_end,
        ..DuePage::default()
    };
    let mut bytes = 0;
    for (stream, head) in heads {
        if page.processes.len() == request.max_processes || bytes >= request.max_bytes {
            page.at_end = false;
            break;
        }
        let verdict = head.as_ref().and_then(|head| match request.of {
            DueOf::Range(_) => verdict(&*request.filter, &stream, head),
            DueOf::Streams(_) => Some(request.filter.verdict(&stream, head)),
        });
        let mut events = Ok(Vec::new());
        if let (Some(Verdict::Due), Some(head)) = (&verdict, &head) {
            events = events_of(transaction, request, &stream, head)?;
        }
        if events.is_err() && !page.processes.is_empty() {
            // A process that is too large is alone on its page: the next one.
            page.at_end = false;
            break;
        }
        page.passed.heads += 1;
        page.up_to = Some(stream.clone());
        match (verdict, head) {
            (Some(Verdict::Pass(skipped)), Some(head)) => {
                page.passed.count(&head.workflow_id, &skipped);
            }
            (Some(Verdict::Due | Verdict::Head), Some(head)) => {
                bytes += match &events {
                    Ok(events) => events.iter().map(|event| event.payload.len()).sum(),
                    Err(_) => request.max_bytes,
                };
                page.processes.push(DueProcess {
                    stream,
                    head: Some(head),
                    problem: events.as_ref().err().cloned(),
                    events: events.unwrap_or_default(),
                    // Each process is read from its events.
                    snapshot: None,
                    passed: std::mem::take(&mut page.passed),
                });
            }
            _ => {}
        }
    }
    Ok(page)
}

/// Streams with their heads; `None` for a stream without events.
type Heads = Vec<(StreamId, Option<Head>)>;

/// The heads that a page may pass, and whether none is left after them.
fn heads(transaction: &Transaction<'_>, request: &DueRequest) -> Result<(Heads, bool), Failure> {
    let most = request.max_heads;
    match &request.of {
        DueOf::Range(range) => {
            let heads = heads_of(transaction, range, most)?;
            let at_end = heads.len() < most;
            let heads = heads.into_iter().map(|(stream, head)| (stream, Some(head)));
            Ok((heads.collect(), at_end))
        }
        DueOf::Streams(streams) => {
            if !streams.is_sorted_by(|a, b| a < b) {
                let text = "the streams of a page must be sorted and unique";
                return Err(Error::new(ErrorKind::Invalid, text).into());
            }
            let mut heads = Vec::new();
            for stream in streams.iter().take(most) {
                heads.push((stream.clone(), read_head(transaction, stream)?));
            }
            Ok((heads, streams.len() <= most))
        }
    }
}

/// What the filter says of a process in a range; `None` if it is at another version
/// than the filter wants.
pub(crate) fn verdict(filter: &dyn DueFilter, stream: &StreamId, head: &Head) -> Option<Verdict> {
    let is_among = filter
        .versions()
        .is_none_or(|versions| versions.contains(&head.workflow_id));
    is_among.then(|| filter.verdict(stream, head))
}

/// The first heads of a range, in order.
pub(crate) fn heads_of(
    transaction: &Transaction<'_>,
    range: &StreamRange,
    most: usize,
) -> Result<Vec<(StreamId, Head)>, Failure> {
    let after = range.after.as_ref().map_or("", StreamId::as_str);
    let through = range.through.as_ref().map(StreamId::as_str);
    let mut query = transaction.prepare_cached(
        "SELECT * FROM heads WHERE stream > ?1 AND (?2 IS NULL OR stream <= ?2) \
         ORDER BY stream LIMIT ?3",
    )?;
    let mut rows = query.query(params![after, through, limit(most)])?;
    let mut heads = Vec::new();
    while let Some(row) = rows.next()? {
        heads.push((convert::stream(row)?, convert::head(row)?));
    }
    Ok(heads)
}

/// The events of a process from its baseline on, up to the limit of bytes.
fn events_of(
    transaction: &Transaction<'_>,
    request: &DueRequest,
    stream: &StreamId,
    head: &Head,
) -> Result<Result<Vec<ChunkEvent>, ChunkProblem>, Failure> {
    let after = request.start_of(head);
    let mut query = transaction.prepare_cached(
        "SELECT sequence, event_type, schema, payload FROM events \
         WHERE stream = ?1 AND sequence > ?2 ORDER BY sequence",
    )?;
    let mut rows = query.query(params![stream.as_str(), integer(after)])?;
    let (mut events, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let (event_type, payload): (String, Vec<u8>) =
            (row.get("event_type")?, row.get("payload")?);
        bytes += payload.len();
        if bytes > request.max_process_bytes {
            return Ok(Err(ChunkProblem::TooLarge));
        }
        events.push(ChunkEvent {
            sequence: number(row, "sequence")?,
            event_type: event_type.into(),
            schema_version: row.get("schema")?,
            payload: payload.into(),
        });
    }
    Ok(Ok(events))
}
