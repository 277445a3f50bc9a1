import pytest

from changedet.storage.secrets import hidden, scrubbed, without_secrets

CASES = {
    "PG:dbname=d host=h user=u password='se cret' schema=s": (
        "PG:dbname=d host=h user=u password=*** schema=s"
    ),
    'PG:"dbname=d password=secret"': 'PG:"dbname=d password=***"',
    "PG:dbname=d PASSWORD = secret": "PG:dbname=d PASSWORD = ***",
    "postgresql://me:secret@host:5432/d": "postgresql://host:5432/d",
    "postgresql://me:sec/ret@host/d": "postgresql://host/d",
    "MSSQL:server=h;UID=u;PWD=my secret;database=d": "MSSQL:server=h;UID=u;PWD=***;database=d",
    "MYSQL:d,user=u,password=secret": "MYSQL:d,user=u,password=***",
    "OCI:me/secret@d": "OCI:***@d",
    "/vsicurl/http://me:secret@h/a.tif": "/vsicurl/http://h/a.tif",
    "/vsizip//vsicurl/https://me:secret@h/a.zip/b.tif": "/vsizip//vsicurl/https://h/a.zip/b.tif",
    "https://h/a.tif?X-Amz-Signature=secret&X-Amz-Date=1": "https://h/a.tif",
    "https://h/a.tif?sv=1&sig=secret": "https://h/a.tif",
    "/vsicurl?use_head=no&url=https%3A%2F%2Fme%3Asecret%40h": "/vsicurl",
    # No secrets:
    "http://h:8080/a@2x.tif": "http://h:8080/a@2x.tif",
    "/data/me@home/compass=5/a.tif": "/data/me@home/compass=5/a.tif",
    "s3://bucket/a.tif": "s3://bucket/a.tif",
}


@pytest.mark.parametrize(("location", "shown"), CASES.items())
def test_an_address_is_shown_without_its_secrets(location, shown):
    assert without_secrets(location) == shown
    assert without_secrets(shown) == shown


@pytest.mark.parametrize("location", [key for key in CASES if "secret" in key or "sec" in key])
def test_secrets_are_left_out_of_other_peoples_words(location):
    said = scrubbed(f"`{location}' not recognized: server says no", location)
    assert "sec" not in said
    assert said.endswith("server says no")


def test_secrets_are_hidden_in_any_text_and_addresses_stay_usable():
    text = "see https://example.org/?id=3, not https://me:secret@h/a?sig=secret&x=1"
    assert hidden(text) == "see https://example.org/?id=3, not https://h/a?sig=***&x=1"
    assert hidden("AWS_SECRET_ACCESS_KEY=secret") == "AWS_SECRET_ACCESS_KEY=***"
    assert hidden("Authorization: Basic c2VjcmV0OnNlY3JldA==") == "Authorization: Basic ***"
    assert hidden("a basic difference; tokens: 5; signature 3") == (
        "a basic difference; tokens: 5; signature 3"
    )
