import pytest

from e2emern.model.document import Document, InvalidAnnotation, Passage
from e2emern.tasks.errors import SourceError
from e2emern.tasks.parsers import parse
from e2emern.tasks.parsers.pubmed import parse_pubmed
from e2emern.tasks.parsers.records import Deletion, Failure

DOCTYPE = '<!DOCTYPE PubmedArticleSet PUBLIC "-//NLM//DTD PubMedArticle//EN" "https://dtd.nlm.nih.gov/x.dtd">\n'


def article(inside="<ArticleTitle>Gout</ArticleTitle>", pmid='<PMID Version="1">7</PMID>'):
    return f"<PubmedArticle><MedlineCitation>{pmid}<Article>{inside}</Article></MedlineCitation></PubmedArticle>"


def file_of(*records):
    return f'<?xml version="1.0"?>\n{DOCTYPE}<PubmedArticleSet>' + "\n".join(records) + "</PubmedArticleSet>"


def test_every_field_of_an_article(write):
    path = write(
        file_of(
            article(
                """<Journal><ISSN>1</ISSN><JournalIssue><PubDate><Year>2021</Year><Month>Mar</Month><Day>7</Day></PubDate>
                </JournalIssue><Title>Journal of Gout</Title><ISOAbbreviation>J Gout</ISOAbbreviation></Journal>
                <ArticleTitle>Gout &amp; urate.</ArticleTitle>
                <Abstract><AbstractText Label="AIM">We ask.</AbstractText><AbstractText>We
                  answer.</AbstractText><CopyrightInformation>(c) Us</CopyrightInformation></Abstract>
                <Language>eng</Language><Language>fre</Language>
                <ArticleDate><Year>1999</Year></ArticleDate>""",
                pmid='<PMID Version="3">7</PMID>',
            )
        )
    )
    assert list(parse_pubmed(path)) == [
        Document(
            document_id="7",
            record=0,
            passages=(Passage("title", 0, "Gout & urate."), Passage("abstract", 14, "AIM: We ask. We answer.")),
            pmid=7,
            version=3,
            journal="Journal of Gout",
            published="2021-03-07",
            language="eng",
        )
    ]


@pytest.mark.parametrize(
    ("inside", "passages"),
    [
        ("<ArticleTitle>H<sub>2</sub>O and <i>E. <b>coli</b></i>.</ArticleTitle>", (("title", 0, "H2O and E. coli."),)),
        (
            '<ArticleTitle>Of <mml:math xmlns:mml="m"><mml:mi>x</mml:mi>\n<mml:mn>2</mml:mn></mml:math></ArticleTitle>',
            (("title", 0, "Of x 2"),),
        ),
        ("<ArticleTitle>[Gout in\u2009men.]</ArticleTitle>", (("title", 0, "[Gout in men.]"),)),
        ("<ArticleTitle> a<!-- no -->b <?no no?>c&#945;</ArticleTitle>", (("title", 0, "ab cα"),)),
        ("<ArticleTitle/><Abstract><AbstractText>Text.</AbstractText></Abstract>", (("abstract", 1, "Text."),)),
        ("<Abstract><AbstractText>Text.</AbstractText></Abstract>", (("abstract", 1, "Text."),)),
        (
            "<ArticleTitle>𝛼</ArticleTitle><Abstract><AbstractText>b</AbstractText></Abstract>",
            (("title", 0, "𝛼"), ("abstract", 2, "b")),
        ),
        ("<ArticleTitle>a</ArticleTitle><Abstract><AbstractText/></Abstract>", (("title", 0, "a"),)),
        (
            '<Abstract><AbstractText Label="AIM:">x</AbstractText><AbstractText Label="END"/></Abstract>',
            (("abstract", 1, "AIM: x"),),
        ),
        ("<ArticleTitle>a</ArticleTitle><VernacularTitle>b</VernacularTitle>", (("title", 0, "a"),)),
        ("<ArticleTitle>[Not Available].</ArticleTitle>", ()),
        ("<ArticleTitle>[Not available]</ArticleTitle>", ()),
        ("<ArticleTitle>[In process citation]</ArticleTitle>", ()),
        ("<ArticleTitle>[Article in German].</ArticleTitle>", ()),
        ("<ArticleTitle>Not available in pharmacies.</ArticleTitle>", (("title", 0, "Not available in pharmacies."),)),
        (
            '<ArticleTitle>Of <mml:math xmlns:mml="m"><mml:semantics><mml:mi>β</mml:mi><mml:annotation encoding="tex">'
            r"$$\beta$$</mml:annotation></mml:semantics></mml:math> cells<sup>2</sup></ArticleTitle>",
            (("title", 0, "Of β cells2"),),
        ),
        (
            "<ArticleTitle>Of <math><semantics><mi>x</mi><annotation-xml><ci>y</ci></annotation-xml>"
            "</semantics></math>.</ArticleTitle>",
            (("title", 0, "Of x."),),
        ),
        (
            r"<ArticleTitle>TGF-\documentclass[12pt]{minimal} \usepackage{upgreek} \begin{document}$$\upbeta$$"
            r"\end{document} and \documentclass{minimal}\begin{document}$$x^2$$\end{document}.</ArticleTitle>",
            (("title", 0, "TGF-β and $$x^2$$."),),
        ),
        (r"<ArticleTitle>\documentclass{minimal}\begin{document}$$x</ArticleTitle>", (("title", 0, "$$x"),)),
        ("", ()),
    ],
)
def test_title_and_abstract_are_flattened(write, inside, passages):
    (document,) = parse_pubmed(write(file_of(article(inside))))
    assert document.passages == tuple(Passage(*passage) for passage in passages)


@pytest.mark.parametrize(
    ("date", "published"),
    [
        ("<Year>2021</Year>", "2021"),
        ("<Year>2021</Year><Month>12</Month>", "2021-12"),
        ("<Year>2021</Year><Month>Dec</Month><Day>05</Day>", "2021-12-05"),
        ("<Year>2021</Year><Month>December</Month><Day>5</Day>", "2021-12-05"),
        ("<Year>2021</Year><Month>Feb</Month><Day>30</Day>", "2021-02"),
        ("<Year>2021</Year><Month>13</Month>", "2021"),
        ("<Year>2021</Year><Season>Spring</Season>", "2021"),
        ("<MedlineDate>1998 Dec-1999 Jan</MedlineDate>", "1998"),
        ("<MedlineDate>Winter 76</MedlineDate>", None),
        ("<Year>soon</Year>", None),
        ("", None),
    ],
)
def test_dates_are_as_precise_as_the_source(write, date, published):
    inside = f"<Journal><JournalIssue><PubDate>{date}</PubDate></JournalIssue></Journal>"
    (document,) = parse_pubmed(write(file_of(article(inside))))
    assert document.published == published


def test_books_and_their_chapters(write):
    book = """<PubmedBookArticle><BookDocument><PMID Version="1">{}</PMID><Book><PubDate><Year>2001</Year></PubDate>
        <BookTitle>Genes</BookTitle></Book>{}<Language>eng</Language><Abstract><AbstractText>Text.</AbstractText></Abstract>
        </BookDocument></PubmedBookArticle>"""
    chapter = "<ArticleTitle>Gout</ArticleTitle><ContributionDate><Year>2002</Year><Month>1</Month></ContributionDate>"
    assert list(parse_pubmed(write(file_of(book.format(1, ""), book.format(2, chapter))))) == [
        Document("1", 0, (Passage("title", 0, "Genes"), Passage("abstract", 6, "Text.")), 1, 1, None, "2001", "eng"),
        Document("2", 1, (Passage("title", 0, "Gout"), Passage("abstract", 5, "Text.")), 2, 1, None, "2002-01", "eng"),
    ]


def test_deletions_are_records(write):
    deletions = '<DeleteCitation>\n<PMID Version="1">8</PMID><PMID>x</PMID><PMID>9</PMID></DeleteCitation>'
    document, *others = parse_pubmed(write(file_of(article(), deletions)))
    assert (document.pmid, document.record) == (7, 0)
    assert others == [
        Deletion(1, 8, version=1),
        Failure(2, "line 5", "PMID is 'x', expected a number above 0", "x"),
        Deletion(3, 9),
    ]


OTHER = "<CommentsCorrectionsList><CommentsCorrections><PMID>8</PMID></CommentsCorrections></CommentsCorrectionsList>"


@pytest.mark.parametrize(
    ("broken", "reason", "document_id"),
    [
        (article(pmid=""), "no PMID", None),
        (article(pmid=OTHER), "no PMID", None),
        (article(pmid="<PMID/>"), "PMID is '', expected a number above 0", None),
        (article(pmid="<PMID>12a</PMID>"), "PMID is '12a', expected a number above 0", "12a"),
        (article(pmid="<PMID>٣</PMID>"), "PMID is '٣', expected a number above 0", "٣"),
        (article(pmid='<PMID Version="b">5</PMID>'), "Version of PMID 5 is 'b', expected a number above 0", "5"),
        (article(pmid='<PMID Version="0">5</PMID>'), "Version of PMID 5 is '0', expected a number above 0", "5"),
        (article(pmid="<PMID>0</PMID>"), "PMID is '0', expected a number above 0", "0"),
        ("<DeleteCitation><PMID>0</PMID></DeleteCitation>", "PMID is '0', expected a number above 0", "0"),
        ("<PubmedArticle/>", "article without MedlineCitation", None),
        (
            "<PubmedArticle><MedlineCitation><PMID>5</PMID></MedlineCitation></PubmedArticle>",
            "article without Article",
            "5",
        ),
        ("<PubmedBookArticle/>", "book article without BookDocument", None),
    ],
)
def test_a_malformed_record_is_a_failure_and_the_next_is_read(write, broken, reason, document_id):
    first, failure, last = parse_pubmed(write(file_of(article(), broken, article())))
    assert (first.record, last.record) == (0, 2)
    assert failure == Failure(1, "line 4", reason, document_id)


def test_the_line_of_a_failure_deep_in_a_file(write):
    *_, failure = parse_pubmed(write(file_of("\n" * 70_000 + article(pmid=""))))
    assert failure.position == "line 70003"


def other_abstract(text, attributes='Type="PIP" Language="eng"'):
    return f"<OtherAbstract {attributes}><AbstractText>{text}</AbstractText></OtherAbstract>"


NO_TEXT = other_abstract("Abstract available from the publisher.", 'Type="Publisher" Language="eng"')


@pytest.mark.parametrize(
    ("abstract", "others", "text", "kind"),
    [
        ("", other_abstract("Pills."), "Pills.", "PIP"),
        ("", other_abstract("Pills.", 'Type="KIE"'), "Pills.", "KIE"),
        ("", other_abstract("Pills.", 'Language="ENG"'), "Pills.", "OtherAbstract"),
        ("", other_abstract("Pilules.", 'Type="Publisher" Language="fre"'), "", None),
        ("", other_abstract("Pilules.", 'Type="Publisher" Language="fre"') + other_abstract("Pills."), "Pills.", "PIP"),
        ("", NO_TEXT + other_abstract("Pills."), "Pills.", "PIP"),
        ("", NO_TEXT, "", None),
        ("<Abstract><AbstractText/></Abstract>", other_abstract("Pills."), "Pills.", "PIP"),
        ("<Abstract><AbstractText>Own.</AbstractText></Abstract>", other_abstract("Pills."), "Own.", None),
    ],
)
def test_the_english_other_abstract_is_used_if_an_article_has_no_abstract(write, abstract, others, text, kind):
    record = article(f"<ArticleTitle>Gout</ArticleTitle>{abstract}").replace("</Article>", f"</Article>{others}")
    (document,) = parse_pubmed(write(file_of(record)))
    assert (document.title, document.abstract, document.abstract_type) == ("Gout", text, kind)


def test_the_vernacular_title_is_kept_apart_from_the_text(write):
    inside = "<ArticleTitle>{}</ArticleTitle><VernacularTitle>Die Gicht</VernacularTitle>"
    chapter = (
        "<PubmedBookArticle><BookDocument><PMID>8</PMID><VernacularTitle>La goutte</VernacularTitle></BookDocument>"
    )
    records = (article(inside.format("[Gout]")), article(inside.format("")), chapter + "</PubmedBookArticle>")
    assert [(document.text, document.vernacular_title) for document in parse_pubmed(write(file_of(*records)))] == [
        ("[Gout]", "Die Gicht"),
        ("", "Die Gicht"),
        ("", "La goutte"),
    ]


def test_named_entities_of_html_are_their_characters(write):
    inside = (
        "<ArticleTitle>TNF-&alpha; in&nbsp;<i>&Omega;</i>&lt;</ArticleTitle><Abstract><AbstractText>R &amp; D &foo;, "
        "<b>&bar;</b>&amp;beta;</AbstractText></Abstract>"
    )
    document, other = parse_pubmed(write(file_of(article(inside), article())))
    assert (document.title, document.abstract) == ("TNF-α in Ω<", "R & D &foo;, &bar;&beta;")
    assert document.invalid_annotations == (
        InvalidAnnotation("line 3", "unknown entity", "'&foo;' is not an entity of HTML; kept as it is"),
        InvalidAnnotation("line 3", "unknown entity", "'&bar;' is not an entity of HTML; kept as it is"),
    )
    assert other.invalid_annotations == ()


def test_the_older_root_of_medline(write):
    citation = (
        '<MedlineCitation Owner="NLM">{}<Article><ArticleTitle>Gout</ArticleTitle></Article><CommentsCorrectionsList>'
        "<CommentsCorrections><PMID>1</PMID></CommentsCorrections></CommentsCorrectionsList></MedlineCitation>\n"
    )
    content = citation.format('<PMID Version="2">7</PMID>') + citation.format("<PMID>x</PMID>")
    deleted = "<DeleteCitation><PMID>8</PMID></DeleteCitation>"
    assert list(parse(write(f"<MedlineCitationSet>{content}{deleted}</MedlineCitationSet>"))) == [
        Document("7", 0, (Passage("title", 0, "Gout"),), 7, 2),
        Failure(1, "line 2", "PMID is 'x', expected a number above 0", "x"),
        Deletion(2, 8),
    ]


LAUGHS = "<!DOCTYPE PubmedArticleSet [<!ENTITY a 'lol'><!ENTITY b '&a;&a;'>{}]>".format(
    "".join(f"<!ENTITY {name} '{f'&{before};' * 10}'>" for before, name in zip("bcdefghi", "cdefghij", strict=True))
)


@pytest.mark.parametrize(
    ("doctype", "title"),
    [
        (LAUGHS, "&j;"),
        ('<!DOCTYPE PubmedArticleSet [<!ENTITY x SYSTEM "file:///etc/hostname">]>', "&x;"),
        ('<!DOCTYPE PubmedArticleSet [<!ENTITY % x "y">]>', "Gout"),
    ],
    ids=["billion laughs", "external entity", "parameter entity"],
)
def test_a_dtd_that_declares_entities_is_refused(write, doctype, title):
    path = write(f"{doctype}<PubmedArticleSet>{article(f'<ArticleTitle>{title}</ArticleTitle>')}</PubmedArticleSet>")
    with pytest.raises(SourceError, match="source: its DTD declares entities; refused as unsafe"):
        list(parse(path))


def test_exponential_entities_in_an_attribute_are_refused(write):
    with pytest.raises(SourceError, match="source: not well-formed XML"):
        list(parse_pubmed(write(f'{LAUGHS}<PubmedArticleSet x="&j;">{article()}</PubmedArticleSet>')))


def test_records_before_broken_xml_are_kept(write):
    records = parse_pubmed(write(file_of(article(), "<oops", article())))
    assert next(records).pmid == 7
    with pytest.raises(
        SourceError,
        match=r"line 5, column 1 \(error parsing attribute name\); correct it, or download the file again$",
    ):
        next(records)
