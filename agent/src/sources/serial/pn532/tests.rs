//! Conversations with a chip that the test plays.

use super::frame::tests::answer;
use super::*;
use proptest::prelude::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn acked(data: &[u8]) -> Vec<u8> {
    [&ACK[..], &answer(data)].concat()
}

/// A card: its number, SENS_RES, SEL_RES, UID, and what follows.
fn card(number: u8, select: u8, uid: &[u8], ats: &[u8]) -> Vec<u8> {
    let length = u8::try_from(uid.len()).unwrap();
    [&[number, 0x00, 0x04, select, length], uid, ats].concat()
}

fn list(cards: &[Vec<u8>]) -> Vec<u8> {
    [&[0x4B, u8::try_from(cards.len()).unwrap()], cards.concat().as_slice()].concat()
}

fn tags(heard: &Heard) -> Vec<String> {
    let tag = |said: &Said| match said {
        Said::Tag(tag) => Some(tag.to_string()),
        Said::Fix(_) => None,
    };
    heard.said.iter().filter_map(tag).collect()
}

/// A chip that was woken, and asked for the first time.
fn asked() -> Pn532 {
    let (mut chip, first) = Pn532::open(ms(0));
    assert_eq!(first.answer, [&WAKE_UP[..], &command(&SAM_CONFIGURATION)].concat());
    let heard = chip.on_bytes(&acked(&[0x15]), ms(1));
    assert_eq!((heard.answer, heard.proved), (command(&FEW_RETRIES), true));
    assert_eq!(chip.on_bytes(&acked(&[0x33]), ms(2)).answer, command(&LIST_TARGETS));
    chip
}

const UID4: [u8; 4] = [0x04, 0xA1, 0xB2, 0xC3];
const UID7: [u8; 7] = [0x04, 0x33, 0x18, 0xEA, 0x70, 0x32, 0x80];
const UID10: [u8; 10] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];

#[test]
fn it_is_woken_configured_and_asked_again_and_again() {
    let mut chip = asked();
    for round in 0..3 {
        let now = ms(10 + round * 1_000);
        let heard = chip.on_bytes(&acked(&list(&[card(1, 0x08, &UID4, &[])])), now);
        assert_eq!((tags(&heard), &heard.answer), (vec!["04A1B2C3".to_owned()], &command(&FIELD_OFF)));
        assert!(chip.on_bytes(&acked(&[0x33]), now).answer.is_empty());
        assert_eq!(chip.next_deadline(), now + REST);
        assert_eq!(chip.on_deadline(now + REST).unwrap().answer, command(&LIST_TARGETS));
    }
}

#[test]
fn uids_of_every_length_and_two_cards_are_read() {
    let ats = [0x05, 0x78, 0x80, 0x02, 0x02];
    for (cards, expected) in [
        (vec![], vec![]),
        (vec![card(1, 0x00, &UID7, &[])], vec!["043318EA703280"]),
        (vec![card(1, 0x00, &UID10, &[])], vec!["0102030405060708090A"]),
        (vec![card(1, 0x08, &UID4, &[]), card(2, 0x00, &UID7, &[])], vec!["04A1B2C3", "043318EA703280"]),
        (vec![card(1, 0x20, &UID7, &ats), card(2, 0x20, &UID4, &ats)], vec!["043318EA703280", "04A1B2C3"]),
        (vec![card(1, 0x20, &UID4, &[])], vec!["04A1B2C3"]),
        (vec![card(1, 0x20, &[0x08, 1, 2, 3], &ats), card(2, 0x08, &UID4, &[])], vec!["04A1B2C3"]),
    ] {
        let heard = asked().on_bytes(&acked(&list(&cards)), ms(3));
        assert_eq!(
            (tags(&heard), heard.skipped),
            (expected.iter().map(|tag| (*tag).to_owned()).collect(), 0)
        );
    }
}

#[test]
fn an_answer_that_makes_no_sense_is_skipped_and_the_chip_asked_on() {
    for data in [
        &[0x4B][..],
        &[0x4B, 1],
        &[0x4B, 2, 1, 0, 4, 8, 4, 1, 2, 3, 4],
        &[0x4B, 1, 1, 0, 4, 8, 5, 1, 2, 3, 4, 5],
    ] {
        let heard = asked().on_bytes(&acked(data), ms(3));
        assert_eq!((tags(&heard), heard.answer), (vec![], command(&FIELD_OFF)), "{data:?}");
    }
}

#[test]
fn a_lost_acknowledgement_does_no_harm() {
    let mut chip = asked();
    let heard = chip.on_bytes(&answer(&list(&[card(1, 0x08, &UID4, &[])])), ms(3));
    assert_eq!(tags(&heard), ["04A1B2C3"], "the answer counts without it");
    let mut chip = asked();
    let heard = chip.on_deadline(chip.next_deadline()).unwrap();
    assert_eq!(
        heard.answer,
        [&ACK[..], &command(&LIST_TARGETS)].concat(),
        "and without both it is asked again"
    );
}

#[test]
fn a_broken_answer_is_asked_for_again() {
    let mut chip = asked();
    let good = answer(&list(&[card(1, 0x08, &UID4, &[])]));
    let mut broken = good.clone();
    broken[9] ^= 0x40;
    let heard = chip.on_bytes(&[&ACK[..], &broken].concat(), ms(3));
    assert_eq!((tags(&heard), &heard.answer[..]), (vec![], &NACK[..]));
    assert_eq!(tags(&chip.on_bytes(&good, ms(4))), ["04A1B2C3"]);
    let mut chip = asked();
    chip.on_bytes(&ACK, ms(3));
    let asked_for = (4..9).filter(|at| !chip.on_bytes(&broken, ms(*at)).answer.is_empty()).count();
    assert_eq!(asked_for, usize::from(TRIES) - 1, "and not for ever");
    assert_eq!(chip.on_deadline(chip.next_deadline()).unwrap().answer, Step::Wake.bytes());
}

#[test]
fn a_command_that_was_not_understood_is_sent_again() {
    for refusal in [&NACK[..], &[0x00, 0x00, 0xFF, 0x01, 0xFF, 0x7F, 0x81, 0x00]] {
        for before in [&[][..], &ACK] {
            let mut chip = asked();
            let again = [&ACK[..], &command(&LIST_TARGETS)].concat();
            for expected in [&again, &again, &vec![]] {
                let heard = chip.on_bytes(&[before, refusal].concat(), ms(3));
                assert_eq!(&heard.answer, expected, "{before:?} {refusal:?}");
            }
            assert_eq!(chip.on_deadline(chip.next_deadline()).unwrap().answer, Step::Wake.bytes());
        }
    }
}

#[test]
fn half_an_answer_is_forgotten_when_the_command_is_sent_again() {
    let mut chip = asked();
    let long = answer(&list(&[card(1, 0x20, &UID4, &[0x55; 100])]));
    chip.on_bytes(&[&ACK[..], &long[..14]].concat(), ms(3));
    assert_eq!(chip.on_deadline(chip.next_deadline()).unwrap().skipped, 11, "all but the zeros");
    let heard = chip.on_bytes(&acked(&list(&[card(1, 0x08, &UID4, &[])])), ms(2_000));
    assert_eq!(tags(&heard), ["04A1B2C3"]);
}

#[test]
fn a_chip_that_lost_its_power_is_woken() {
    let mut chip = asked();
    let sent: Vec<Vec<u8>> = (0..3).map(|_| chip.on_deadline(chip.next_deadline()).unwrap().answer).collect();
    let again = [&ACK[..], &command(&LIST_TARGETS)].concat();
    assert_eq!(sent, [again.clone(), again, Step::Wake.bytes()]);
    assert_eq!(chip.on_bytes(&acked(&[0x15]), ms(9_000)).answer, command(&FEW_RETRIES));
}

#[test]
fn a_chip_that_loses_its_power_again_and_again_and_comes_back_is_not_mute() {
    let mut chip = asked();
    for _ in 0..2 * WAKES {
        while chip.step != Step::Wake {
            chip.on_deadline(chip.next_deadline()).expect("it was heard since");
        }
        for code in [0x15, 0x33, 0x4B] {
            chip.on_bytes(
                &acked(if code == 0x4B { &[0x4B, 0] } else { std::slice::from_ref(&code) }),
                chip.next_deadline(),
            );
        }
        assert_eq!(chip.step, Step::FieldOff);
    }
}

#[test]
fn a_chip_that_never_answers_is_mute() {
    let (mut chip, _) = Pn532::open(ms(0));
    let mut sent = 1;
    let mute = loop {
        match chip.on_deadline(chip.next_deadline()) {
            Ok(_) => sent += 1,
            Err(mute) => break mute,
        }
    };
    assert_eq!((mute, sent), (Mute::Chip, u32::from(TRIES * WAKES)));
}

#[test]
fn the_late_answer_to_another_command_is_none() {
    let mut chip = asked();
    let heard = chip.on_bytes(&[answer(&[0x15]), answer(&[0x33])].concat(), ms(3));
    assert_eq!((heard, chip.step), (Heard::default(), Step::List));
}

proptest! {
    #[test]
    fn whatever_comes_it_goes_on_or_says_that_it_cannot(
        parts in prop::collection::vec(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            Just(ACK.to_vec()),
            Just(NACK.to_vec()),
            Just(answer(&[0x15])),
            Just(answer(&[0x33])),
            Just(answer(&list(&[card(1, 0x08, &UID4, &[])]))),
            prop::collection::vec(any::<u8>(), 0..30).prop_map(|data| answer(&[&[0x4B], &data[..]].concat())),
            Just(vec![]),
        ], 0..60),
    ) {
        let (mut chip, _) = Pn532::open(ms(0));
        let mut now = ms(0);
        for part in parts {
            chip.on_bytes(&part, now);
            prop_assert!(chip.next_deadline() <= now + ANSWER_WITHIN);
            if part.is_empty() {
                now = now.max(chip.next_deadline());
                if chip.on_deadline(now).is_err() {
                    return Ok(());
                }
                prop_assert!(chip.next_deadline() > now, "time goes on");
            }
        }
    }
}
