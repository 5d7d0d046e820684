use super::*;
use crate::mapping;

fn plan() -> Arc<Plan> {
    Arc::new(Plan::load(&mapping::MappingConfig::default(), &mapping::Identifiers::default()).unwrap())
}

fn doctors(count: usize) -> Mappable {
    let doctors: Vec<String> = (0..count).map(|n| n.to_string()).collect();
    let (msh, doctors) = ("MSH|^~\\&|A|F|||20260110||ADT^A01|1|P|2.5", doctors.join("~"));
    let raw = format!("{msh}\rPID|1||42\rPV1|1|I|||||{doctors}||||||||||||V1");
    Mappable { raw: raw.into(), parsed: None, context: Context::default() }
}

#[test]
fn what_is_short_is_mapped_at_once_and_what_is_not_is_left_for_later() {
    let plan = plan();
    assert!(Mapper::default().briefly(&plan, &doctors(3)).unwrap().is_ok());
    assert!(doctors(5_000).raw.len() < BRIEF_BYTES && Mapper::default().briefly(&plan, &doctors(5_000)).is_none());
    assert!(Mapper::default().briefly(&plan, &doctors(50_000)).is_none());
}

#[test]
fn a_message_over_a_budget_that_is_short_itself_is_over_it_at_once() {
    let mut message = doctors(50);
    message.context.budget = Some(100);
    let outcome = Mapper::default().briefly(&plan(), &message).unwrap();
    assert!(matches!(outcome, Err(ConvertError::OverBudget { limit: 100 })), "{outcome:?}");
}

#[tokio::test]
async fn what_is_being_mapped_has_its_name_until_it_is_done() {
    let mapper = Mapper::default();
    let held = Arc::clone(&mapper.places).acquire_many_owned(u32::try_from(threads()).unwrap()).await.unwrap();
    let (waiting, plan) = (mapper.clone(), plan());
    let waiting = tokio::spawn(async move { waiting.at_length(plan, doctors(500), "17".into()).await });
    tokio::task::yield_now().await;
    assert!(mapper.under_way().is_empty(), "it waits for its place");
    drop(held);
    let mapped = waiting.await.unwrap();
    assert!(mapped.converted.unwrap().body.contains("practitioner-500") && mapped.place.is_none());
    assert!(mapper.under_way().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_is_read_aside_keeps_no_other_task_from_its_turn() {
    let room = Arc::new(ReadingRoom::default());
    let (tell, told) = std::sync::mpsc::channel();
    // On the one thread that there is: the work ends when another task has had its turn.
    let reading = tokio::spawn(async move { room.read(BRIEF_BYTES + 1, || told.recv().unwrap()) });
    let other = tokio::spawn(async move { tell.send(()).unwrap() });
    reading.await.unwrap();
    other.await.unwrap();
}
