//! The guarantee that SlateDB needs of a server: of several concurrent creations of
//! one object, or conditional updates of the same version, exactly one succeeds.

use std::sync::Arc;

use futures_util::future::join_all;
use slatedb::object_store::path::Path;
use slatedb::object_store::{
    Error, ObjectStore, ObjectStoreExt, PutMode, PutPayload, UpdateVersion,
};

use crate::Figures;

const ROUNDS: usize = 20;
const AT_ONCE: usize = 8;

pub(crate) async fn puts(objects: &Arc<dyn ObjectStore>, figures: &mut Figures) {
    let what = format!("{ROUNDS} races of {AT_ONCE}");
    races(objects, "create", |_| PutMode::Create).await;
    figures.add("conditional create", format!("{what}, each won by one"));
    races(objects, "update", PutMode::Update).await;
    figures.add("conditional update", format!("{what}, each won by one"));
}

async fn races(
    objects: &Arc<dyn ObjectStore>,
    kind: &str,
    mode: impl Fn(UpdateVersion) -> PutMode,
) {
    for round in 0..ROUNDS {
        let at = Path::from(format!("races/{kind}-{round}"));
        let mut seen = UpdateVersion {
            e_tag: None,
            version: None,
        };
        if kind == "update" {
            let put = objects.put(&at, PutPayload::from_static(b"first")).await;
            let put = put.unwrap();
            seen.e_tag = put.e_tag;
        }
        let tasks = (0..AT_ONCE).map(|who| {
            let (objects, at, mode) = (objects.clone(), at.clone(), mode(seen.clone()));
            tokio::spawn(async move {
                let payload = PutPayload::from(format!("by {who}"));
                objects.put_opts(&at, payload, mode.into()).await
            })
        });
        let mut winners = Vec::new();
        for (who, put) in join_all(tasks).await.into_iter().enumerate() {
            match put.unwrap() {
                Ok(_) => winners.push(who),
                Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {}
                Err(error) => panic!("{kind} {round}: {error}"),
            }
        }
        assert_eq!(winners.len(), 1, "{kind} {round} was won by {winners:?}");
        let found = objects.get(&at).await.unwrap().bytes().await.unwrap();
        assert_eq!(found, format!("by {}", winners[0]), "{kind} {round}");
    }
}
