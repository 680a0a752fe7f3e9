from __future__ import annotations

import datetime as dt
from dataclasses import replace

from cryptography import x509

from pillion_operator.builders.serving_certificate import CertificateTimes, Material, next_step, of_secret

TIMES = CertificateTimes(ca=1000, certificate=300, settle=10)
NAMES = ("operator-webhook.pillion.svc", "127.0.0.1")
BEGAN = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)


def at(seconds: float) -> dt.datetime:
    return BEGAN + dt.timedelta(seconds=seconds)


def step(kept: Material | None, trusted: str, seconds: float) -> Material | None:
    return next_step(kept, trusted, NAMES, TIMES, at(seconds))


def made(kept: Material | None, trusted: str, seconds: float) -> Material:
    found = step(kept, trusted, seconds)
    assert found is not None
    return found


def installed() -> Material:
    first = made(None, "", 0)
    return made(first, first.bundle, 0)


def signed_by(material: Material, authority: str) -> bool:
    certificate = x509.load_pem_x509_certificate(material.certificate.encode())
    try:
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.encode()))
    except Exception:  # noqa: BLE001 - each way not to be signed has an exception of its own
        return False
    return True


def test_the_first_ca_signs_once_the_api_server_trusts_it() -> None:
    first = made(None, "", 0)
    assert first.certificate == ""
    assert step(first, "", 5) is None
    second = made(first, first.bundle, 5)
    assert signed_by(second, second.authorities[0])
    assert step(second, second.bundle, 5) is None


def test_the_certificate_is_for_the_names_and_lives_as_long_as_asked() -> None:
    certificate = x509.load_pem_x509_certificate(installed().certificate.encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {str(name.value) for name in names} == set(NAMES)
    assert certificate.not_valid_after_utc == at(300)


def test_a_worn_certificate_is_renewed_by_the_same_ca() -> None:
    kept = installed()
    assert step(kept, kept.bundle, 199) is None
    renewed = made(kept, kept.bundle, 200)
    assert renewed.authorities == kept.authorities
    assert renewed.certificate != kept.certificate


def test_a_new_ca_is_trusted_beside_the_old_one_before_it_signs_and_the_old_one_afterwards() -> None:
    kept = installed()
    kept = made(kept, kept.bundle, 450)  # the certificate, so that only the CA is worn
    both = made(kept, kept.bundle, 500)
    assert both.authorities[1:] == kept.authorities
    assert both.certificate == kept.certificate
    assert step(both, both.bundle, 509) is None
    assert step(both, kept.bundle, 511) is None, "the API server has not been told"
    moved = made(both, both.bundle, 511)
    assert signed_by(moved, both.authorities[0])
    assert moved.authorities == both.authorities
    assert step(moved, moved.bundle, 520) is None
    alone = made(moved, moved.bundle, 521)
    assert alone.authorities == both.authorities[:1]
    assert step(alone, alone.bundle, 522) is None


def test_other_names_are_taken_up_at_once() -> None:
    kept = installed()
    other = next_step(kept, kept.bundle, ("elsewhere",), TIMES, at(1))
    assert other is not None
    assert other.authorities == kept.authorities


def test_a_lost_secret_is_replaced_while_what_was_trusted_stays_so_for_a_while() -> None:
    former = installed()
    fresh = made(None, former.bundle, 20)
    assert fresh.authorities[1:] == former.authorities
    assert step(fresh, fresh.bundle, 29) is None
    signed = made(fresh, fresh.bundle, 30)
    assert signed_by(signed, fresh.authorities[0])
    assert made(signed, signed.bundle, 40).authorities == fresh.authorities[:1]


def test_an_operator_that_was_away_for_long_begins_anew() -> None:
    former = installed()
    fresh = made(former, former.bundle, 1001)
    assert former.authorities[0] not in fresh.authorities
    assert fresh.certificate == ""


def test_what_the_secret_keeps_is_read_back() -> None:
    kept = installed()
    assert of_secret(kept.as_data()) == kept


def test_what_is_not_ours_is_not_taken() -> None:
    kept, other = installed(), installed()
    assert of_secret({}) is None
    assert of_secret(kept.as_data() | {"ca.key": other.ca_key}) is None
    assert of_secret(kept.as_data() | {"ca.crt": "nothing"}) is None
    assert of_secret(kept.as_data() | {"tls.key": other.key}) == replace(kept, certificate="", key="")


def test_keys_are_not_shown() -> None:
    assert "PRIVATE" not in repr(installed())


def urgently(kept: Material | None, trusted: str, seconds: float) -> Material | None:
    return next_step(kept, trusted, NAMES, TIMES, at(seconds), urgent=True)


def test_who_has_nothing_else_to_serve_signs_at_once_what_is_lost_and_keeps_the_former_ca_trusted() -> None:
    former = installed()
    lost = urgently(None, former.bundle, 20)
    assert lost is not None
    assert lost.authorities[1:] == former.authorities
    again = urgently(lost, former.bundle, 20)
    assert again is not None
    assert signed_by(again, again.authorities[0])
    assert urgently(again, again.bundle, 29) is None
    alone = urgently(again, again.bundle, 31)
    assert alone is not None
    assert alone.authorities == again.authorities[:1]


def test_a_certificate_that_is_over_is_signed_at_once_by_a_ca_that_nobody_was_told_of_yet() -> None:
    kept = installed()
    kept = made(kept, kept.bundle, 450)
    both = made(kept, kept.bundle, 500)
    assert step(both, kept.bundle, 760) is None
    signed = urgently(both, kept.bundle, 760)
    assert signed is not None
    assert signed_by(signed, both.authorities[0])


def test_a_rotation_waits_however_urgent_it_is_where_there_is_something_to_serve() -> None:
    kept = installed()
    kept = made(kept, kept.bundle, 450)
    both = urgently(kept, kept.bundle, 500)
    assert both is not None
    assert both.certificate == kept.certificate
    assert urgently(both, both.bundle, 509) is None
    moved = urgently(both, both.bundle, 511)
    assert moved is not None
    assert signed_by(moved, both.authorities[0])
