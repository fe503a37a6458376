//! The companies, travellers and trips of a simulated Concur.
//!
//! Everything is a pure function of the seed and a number: nothing is stored, so a trip of an hour ago at 20,000
//! postbacks/s can still be fetched, and the same seed makes the same world.

use jiff::civil::{Date, DateTime, date};
use jiff::{Span, ToSpan};
use uuid::Uuid;

use super::dice::Dice;

/// Companies of a world.
pub(super) const COMPANIES: u64 = 3;

/// Travellers of a company.
pub(super) const TRAVELLERS: u64 = 40;

/// Purposes of dice.
const COMPANY: u64 = 1;
const TRAVELLER: u64 = 2;
const TRIP: u64 = 3;
const TRIP_MASK: u64 = 4;

/// Alphabet of trip ids.
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Alphabet of tokens: some of it must be encoded in a query.
const TOKEN: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_~+/";

/// Characters of a trip id before the eleven that hold the number; 33 in all, as Concur's.
const TRIP_ID_PREFIX: usize = 22;

const FIRST_NAMES: [&str; 16] = [
    "Ada", "Björn", "Chen", "Dalia", "Emeka", "Farah", "Grace", "Hiro", "Inés", "Jonas", "Kavya",
    "Luca", "Maria", "Noor", "Olga", "Pavel",
];
const LAST_NAMES: [&str; 12] = [
    "Almeida", "Black", "Çelik", "Dubois", "Eriksen", "Fischer", "García", "Haddad", "Ito",
    "Johnson", "Kowalski", "Miller",
];
const NAMES_OF_COMPANIES: [&str; 3] = ["Acme & Sons", "Globex", "Initech"];
const DOMAINS: [&str; 3] = ["acme.example", "globex.example", "initech.example"];
const CITIES: [(&str, &str); 10] = [
    ("SEA", "Seattle"),
    ("DFW", "Dallas"),
    ("LHR", "London"),
    ("CDG", "Paris"),
    ("FRA", "Frankfurt"),
    ("NRT", "Tokyo"),
    ("BLR", "Bengaluru"),
    ("GRU", "São Paulo"),
    ("JFK", "New York"),
    ("SIN", "Singapore"),
];

/// A world.
#[derive(Debug, Clone, Copy)]
pub struct World {
    seed: u64,
}

/// A company whose administrator has connected the partner's application.
#[derive(Debug, Clone)]
pub struct Company {
    /// Its name.
    pub name: &'static str,
    /// Its id in ESS.
    pub uuid: Uuid,
    /// The administrator's OAuth token: company-level postbacks carry it.
    pub token: String,
}

/// Somebody who travels.
#[derive(Debug, Clone)]
pub struct Traveller {
    /// Which one of the world.
    pub number: u64,
    /// Given name.
    pub first_name: &'static str,
    /// Family name.
    pub last_name: &'static str,
    /// Login, an e-mail address; ASCII.
    pub login: String,
    /// Id in ESS.
    pub uuid: Uuid,
    /// The traveller's own OAuth token: user-level postbacks carry it.
    pub token: String,
    /// Where they work.
    pub company: u64,
}

/// A journey.
#[derive(Debug, Clone)]
pub struct Trip {
    /// Which one of the world.
    pub number: u64,
    /// Its id in v1: 33 letters and digits.
    pub id: String,
    /// Its id in v4.
    pub uuid: Uuid,
    /// Who travels, by number.
    pub traveller: u64,
    /// From which airport (code, city).
    pub from: (&'static str, &'static str),
    /// To which.
    pub to: (&'static str, &'static str),
    /// Departure, in the time of the place.
    pub starts: DateTime,
    /// Nights away.
    pub nights: i64,
    /// How often it is changed after it was made.
    pub updates: u8,
    /// Whether it is cancelled in the end.
    pub is_cancelled: bool,
}

impl World {
    /// The world of a seed.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The seed.
    pub fn seed(self) -> u64 {
        self.seed
    }

    /// A company; numbers wrap around.
    pub fn company(self, number: u64) -> Company {
        let number = number % COMPANIES;
        let mut dice = Dice::new(self.seed, &[COMPANY, number]);
        let index = usize::try_from(number).unwrap_or(0);
        Company {
            name: NAMES_OF_COMPANIES[index],
            uuid: dice.uuid(),
            token: dice.text(24, TOKEN),
        }
    }

    /// A traveller; numbers wrap around.
    pub fn traveller(self, number: u64) -> Traveller {
        let number = number % (COMPANIES * TRAVELLERS);
        let mut dice = Dice::new(self.seed, &[TRAVELLER, number]);
        let company = number % COMPANIES;
        let (first_name, last_name) = (*dice.pick(&FIRST_NAMES), *dice.pick(&LAST_NAMES));
        let domain = DOMAINS[usize::try_from(company).unwrap_or(0)];
        let login = format!(
            "{}.{}{number}@{domain}",
            ascii(first_name),
            ascii(last_name)
        );
        Traveller {
            number,
            first_name,
            last_name,
            login,
            uuid: dice.uuid(),
            token: dice.text(24, TOKEN),
            company,
        }
    }

    /// The traveller with a login, in any case.
    pub fn traveller_by_login(self, login: &str) -> Option<Traveller> {
        let name = login.split('@').next()?;
        let digits = name.trim_start_matches(|letter: char| !letter.is_ascii_digit());
        let traveller = self.traveller(digits.parse().ok()?);
        traveller
            .login
            .eq_ignore_ascii_case(login)
            .then_some(traveller)
    }

    /// The traveller whose own token it is.
    pub fn traveller_by_token(self, token: &str) -> Option<Traveller> {
        (0..COMPANIES * TRAVELLERS)
            .map(|number| self.traveller(number))
            .find(|traveller| traveller.token == token)
    }

    /// The traveller with an id of ESS.
    pub fn traveller_by_uuid(self, uuid: Uuid) -> Option<Traveller> {
        (0..COMPANIES * TRAVELLERS)
            .map(|number| self.traveller(number))
            .find(|traveller| traveller.uuid == uuid)
    }

    /// Whether a token may read what belongs to a traveller: it is theirs, or their company's.
    pub fn may_read(self, token: &str, traveller: &Traveller) -> bool {
        token == traveller.token || token == self.company(traveller.company).token
    }

    /// A trip.
    pub fn trip(self, number: u64) -> Trip {
        let mut dice = Dice::new(self.seed, &[TRIP, number]);
        let from = *dice.pick(&CITIES);
        let others: Vec<_> = CITIES.into_iter().filter(|city| *city != from).collect();
        let day: Date = date(2027, 1, 4).saturating_add(days(dice.below(300)));
        Trip {
            number,
            id: self.trip_id(number),
            uuid: self.trip_uuid(number),
            traveller: dice.below(COMPANIES * TRAVELLERS),
            from,
            to: *dice.pick(&others),
            starts: day.at(i8::try_from(6 + dice.below(14)).unwrap_or(6), 25, 0, 0),
            nights: i64::try_from(1 + dice.below(6)).unwrap_or(1),
            updates: u8::try_from(dice.below(4)).unwrap_or(0),
            is_cancelled: dice.chance(0.3),
        }
    }

    /// The number of the trip with a v1 id, if that is one of this world's ids.
    pub fn trip_number(self, id: &str) -> Option<u64> {
        let digits = id
            .as_bytes()
            .get(TRIP_ID_PREFIX..)
            .filter(|digits| digits.len() == 11)?;
        let number = digits.iter().try_fold(0_u64, |number, digit| {
            let value = BASE62.iter().position(|letter| letter == digit)?;
            number
                .checked_mul(62)?
                .checked_add(u64::try_from(value).ok()?)
        })?;
        let number = number ^ self.trip_mask();
        (self.trip_id(number) == id).then_some(number)
    }

    /// The number of the trip with a v4 id, if that is one of this world's ids.
    pub fn trip_number_of_uuid(self, uuid: Uuid) -> Option<u64> {
        let number = uuid.as_u64_pair().1 & UUID_NUMBER;
        (self.trip_uuid(number) == uuid).then_some(number)
    }

    fn trip_id(self, number: u64) -> String {
        let mut id = Dice::new(self.seed, &[TRIP_MASK, number]).text(TRIP_ID_PREFIX, BASE62);
        let mut rest = number ^ self.trip_mask();
        let mut digits = [b'0'; 11];
        for digit in digits.iter_mut().rev() {
            *digit = BASE62[usize::try_from(rest % 62).unwrap_or(0)];
            rest /= 62;
        }
        id.extend(digits.map(char::from));
        id
    }

    /// The number stands in the last 48 bits, so that it can be read back.
    fn trip_uuid(self, number: u64) -> Uuid {
        let (high, low) = Dice::new(self.seed, &[TRIP_MASK, number, 1])
            .uuid()
            .as_u64_pair();
        Uuid::from_u64_pair(high, (low & !UUID_NUMBER) | (number & UUID_NUMBER))
    }

    fn trip_mask(self) -> u64 {
        Dice::new(self.seed, &[TRIP_MASK]).throw()
    }
}

const UUID_NUMBER: u64 = (1 << 48) - 1;

impl Trip {
    /// The end of the journey, in the time of the place.
    pub fn ends(&self) -> DateTime {
        self.starts
            .saturating_add(days(u64::try_from(self.nights).unwrap_or(1)))
    }
}

fn days(number: u64) -> Span {
    i64::try_from(number).unwrap_or(0).days()
}

/// A name as it stands in a login.
fn ascii(name: &str) -> String {
    let plain = |letter: char| match letter {
        'ö' => 'o',
        'é' => 'e',
        'í' => 'i',
        'ç' | 'Ç' => 'c',
        other => other.to_ascii_lowercase(),
    };
    name.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trip_is_found_by_each_of_its_ids_and_by_no_other() {
        let world = World::new(42);
        for number in [0, 1, 61, 62, 1_000_000, UUID_NUMBER] {
            let trip = world.trip(number);
            assert_eq!(trip.id.len(), 33);
            assert_eq!(world.trip_number(&trip.id), Some(number));
            assert_eq!(world.trip_number_of_uuid(trip.uuid), Some(number));
        }
        let foreign = World::new(43).trip(1);
        assert_eq!(world.trip_number(&foreign.id), None);
        assert_eq!(world.trip_number_of_uuid(foreign.uuid), None);
        assert_eq!(world.trip_number("naIzQJ0y2DBWjCIQOb2SHTsozwBsHDkdP"), None);
        assert_eq!(world.trip_number("é"), None);
    }

    #[test]
    fn travellers_differ_and_are_found_by_login_and_token() {
        let world = World::new(1);
        let all: Vec<_> = (0..COMPANIES * TRAVELLERS)
            .map(|number| world.traveller(number))
            .collect();
        let tokens: std::collections::HashSet<_> =
            all.iter().map(|traveller| &traveller.token).collect();
        assert_eq!(tokens.len(), all.len());
        for traveller in &all {
            assert!(traveller.login.is_ascii(), "{}", traveller.login);
            assert_eq!(
                world
                    .traveller_by_login(&traveller.login.to_uppercase())
                    .map(|t| t.number),
                Some(traveller.number)
            );
            assert_eq!(
                world.traveller_by_token(&traveller.token).map(|t| t.number),
                Some(traveller.number)
            );
            assert!(world.may_read(&world.company(traveller.company).token, traveller));
            assert!(!world.may_read(&world.company(traveller.company + 1).token, traveller));
        }
        assert!(world.traveller_by_login("nobody@acme.example").is_none());
    }
}
