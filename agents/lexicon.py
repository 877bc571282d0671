# ruff: noqa: E501 - a line is one entry
"""What words have to do with each other, as far as it decides whether two questions ask for the same. English."""

from __future__ import annotations

import re

from agents.topic import listed

# Words that say nothing about what is asked.
LIGHT = listed(
    """
    a an the is are was were be been being am do does did done have has had having will would shall can could may might
    must should of and or that this these those there it its i we you my our your me us he she they him her their
    what which who whom whose when where why how please tell give show explain describe say know want find let like
    get got gets getting help to for in on at by with from into about as if than then so also just exactly actually
    currently really still ever any some such own anyone anybody someone somebody people person one go going take takes
    took happen happens happened happening made making taken given purpose meaning applies work works make makes much many long old far often tall high deep wide big large heavy
    thing things question information entitled value each every said info details detail according called kindly mean meant means use used uses
    using term regarding concerning possible able via through per during within i'd i'm what's who's where's how's
    when's that's it's let's there's here sort kind type between
    """
)

_COUNTED = "zero - two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty"
_MORE_NUMBERS = "thirty 30 forty 40 fifty 50 sixty 60 seventy 70 eighty 80 ninety 90 hundred 100 thousand 1000 million 1000000 billion 1000000000 dozen 12 half 1/2 once 1 twice 2 double 2 triple 3"
_ORDINALS = "second third fourth fifth sixth seventh eighth ninth tenth"


def _numbers() -> dict[str, str]:
    found = {word: str(value) for value, word in enumerate(_COUNTED.split()) if word != "-"}
    found |= {word: str(value) for value, word in enumerate(_ORDINALS.split(), 2)}
    more = _MORE_NUMBERS.split()
    return found | dict(zip(more[::2], more[1::2], strict=True))


NUMBERS = _numbers()

_MONTHS = "january february march april may june july august september october november december"
_TIMES = "monday tuesday wednesday thursday friday saturday sunday today yesterday tomorrow tonight now spring summer autumn winter christmas easter weekend q1 q2 q3 q4 h1 h2 morning afternoon evening night noon midnight"
DATES = {
    **{name: name for name in (_MONTHS.split() + _TIMES.split())},
    **{name[:3]: name for name in _MONTHS.split() if name != "may"},
    "sept": "september",
    "fall": "autumn",
}
ALSO_WORDS = listed("may march fall now mar")  # dates only with a capital
# Spans of time, whatever the ending: "per month" is "monthly".
_SPANS = """
day days daily
week weeks weekly
month months monthly
year years yearly annual annually
hour hours hourly
minute minutes
seconds
decade decades
century centuries
quarter quarters quarterly
"""
SPANS = {form: line.split()[0] for line in _SPANS.strip().splitlines() for form in line.split()}

NEGATIONS = re.compile(
    r"\b(?:not|no|never|without|none|nobody|nothing|neither|nor|cannot|except|excluding|excluded?|unless|lacks?|lacking|fails?|failed|failing|unable|instead|besides|apart from|other than|rather than)\b|n't\b",
    re.I,
)
_EXCEPT = listed("except excluding exclude excluded besides")
NO = listed(
    "not no never without none nobody nothing neither nor cannot except excluding exclude excluded unless lack lacks lacking fail fails failed failing unable instead besides"
)


def negation(word: str) -> str:
    """Words that deny alike have one name."""
    lower = word.lower()
    if lower in _EXCEPT or lower in ("apart from", "other than"):
        return "except"
    return lower if lower in ("unless", "instead", "rather than") else "not"


# The sides of a line may never be exchanged for one another.
_OPPOSITES = """
before prior earlier preceding ahead previously | after following later afterwards since subsequent
until till | since
maximum max most highest largest biggest greatest longest upper ceiling top tallest fastest | minimum min least lowest smallest shortest lower floor bottom slowest fewest
more greater higher larger bigger above over exceeding exceeds exceed longer faster | less fewer lower smaller below under beneath shorter slower
first initial original earliest oldest | last final latest newest recent
start starts started starting begin begins began beginning begun commence launch launched open opens opened opening | end ends ended ending finish finished finishes stop stops stopped close closes closed closing expire expires expired cease terminate
buy buys bought buying purchase purchased purchases purchasing acquire acquired acquires buyer purchaser customer | sell sells sold selling sale seller vendor supplier
send sends sent sending sender outgoing outbound export exports exported exporting | receive receives received receiving recipient receiver incoming inbound import imports imported importing
upload uploads uploaded uploading | download downloads downloaded downloading
increase increases increased increasing rise rises rose rising grow grew growth gain gains raise raised raises | decrease decreases decreased decreasing fall falls fell drop drops dropped decline declines declined reduce reduces reduced lower lowered lowering loss losses shrink cut
enable enables enabled enabling activate activated activates | disable disables disabled disabling deactivate deactivated
add adds added adding insert inserted include includes included including attach | remove removes removed removing delete deletes deleted deleting erase erased detach
create creates created creating build | destroy destroys destroyed delete deletes deleted
internal inside indoor inner in-house | external outside outdoor outer
public | private
left | right
north northern | south southern | east eastern | west western
win wins won winning winner victory | lose loses lost losing loser defeat
borrow borrows borrowed borrower | lend lends lent lender
employer | employee
parent mother father parents | child son daughter children
teacher teaches taught teach | student pupil learn
input inputs | output outputs
allow allows allowed permit permitted permits permissible | forbid forbids forbidden prohibit prohibited ban banned disallow disallowed
accept accepts accepted approve approved approves approval | reject rejects rejected refuse refused deny denied decline rejection
encrypt encrypted encryption | decrypt decrypted decryption
profit profits earnings | loss losses
revenue income earnings | expense expenses cost costs spending
debit | credit
arrive arrives arrived arrival arrivals | depart departs departed departure departures leave leaves left
enter enters entered entry join joins joined joining hire hired hires hiring recruit | exit leave leaves left quit resign fire fired dismiss dismissed
majority | minority
best better strengths strength advantage advantages benefit benefits pros | worst worse weakness weaknesses disadvantage disadvantages drawback drawbacks risks cons
early | late
new | old
hot heat heating warm | cold cool cooling
required mandatory compulsory obligatory | optional voluntary
read reads reading | write writes writing wrote written
client | server
source | target destination
plaintiff | defendant
former previous past predecessor preceded | current present | next successor future succeeded succeed follow follows
domestic national | international foreign overseas
wholesale | retail
full-time full | part-time part partial partially
male men man | female women woman
husband | wife
brother | sister
mother | father
son | daughter
king | queen
push pushes pushed | pull pulls pulled
lock locks locked | unlock unlocks unlocked
install installs installed installing installation | uninstall uninstalls uninstalled uninstalling uninstallation
connect connects connected | disconnect disconnects disconnected
save saves saved | load loads loaded
backup back-up | restore restores restored restoring
deposit deposits deposited | withdraw withdraws withdrew withdrawal
inhale | exhale
ascending | descending
horizontal | vertical
horizontally | vertically
asset assets | liability liabilities
attack | defend defence defense
success successful succeed succeeds | failure failures
positive | negative
numerator | denominator
bride | groom
cause causes caused causing | effect effects result consequence consequences
up upward upgrade upgraded upgrading | down downward downgrade downgraded downgrading
gross | net
inclusive | exclusive
synchronous | asynchronous
serial | parallel
static | dynamic
manual manually | automatic automatically
frontend front | backend back rear
primary main | secondary
day | night
temporary | permanent
paid | unpaid free
online | offline
liquid | solid | gas
domestic | foreign
"""


def _sided() -> dict[str, list[tuple[int, int]]]:
    found: dict[str, list[tuple[int, int]]] = {}
    for line, text in enumerate(_OPPOSITES.strip().splitlines()):
        for side, words in enumerate(text.split("|")):
            for word in words.split():
                found.setdefault(word, []).append((line, side))
    return found


SIDES = _sided()
"""Word -> (line, side) of opposites."""

# What may not be exchanged for another of its kind, however near their vectors are.
_KINDS = """
red orange yellow green blue purple violet pink brown black white grey gray silver gold
kilometre kilometer kilometres kilometers km mile miles metre metres meter meters feet foot inch inches yard yards cm mm
kilogram kilograms kg gram grams pound pounds lb lbs ton tons tonne tonnes ounce ounces
euro euros dollar dollars pound pounds yen franc francs krone kroner rupee rupees yuan
celsius fahrenheit kelvin
bit bits byte bytes kilobyte kilobytes kb megabyte megabytes mb gigabyte gigabytes gb terabyte terabytes tb
breakfast lunch dinner supper
dog cat horse cow pig sheep goat bird fish
windows linux macos mac ubuntu debian android ios
sum average mean median mode variance
width height depth length breadth weight volume area
author editor publisher translator illustrator
director producer actor actress composer screenwriter
president chairman ceo cfo cto coo treasurer secretary
email phone telephone fax letter post
city country state county province continent region town village capital
birth death marriage divorce wedding
born died married divorced
lead copper iron zinc silver gold nickel tin aluminium aluminum
"""
KINDS = tuple(listed(line) for line in _KINDS.strip().splitlines())

# Forms that stemming keeps apart; the first word of a line stands for all.
_FORMS = """
write wrote written writing writes writer writers author authors
buy bought
sell sold
found founded founder founders founding founds
begin began begun
speak spoke spoken
choose chose chosen
build built builds building builder
make made
send sent
pay paid pays payment
teach taught
think thought
bring brought
catch caught
win won
lose lost
lead led leader leads
leave left
keep kept
hold held
run ran running runs
see saw seen
give gave given
grow grew grown
know knew known
draw drew drawn
break broke broken
sing sang sung
drive drove driven
eat ate eaten
fly flew flown
wear wore worn
steal stole stolen
rise rose risen
fall fell fallen
hide hid hidden
bear bore
meet met
read reads reading reader
invent invented inventor invention inventing invents
discover discovered discoverer discovery
direct directed director directs
compose composed composer
design designed designer designs
paint painted painter
create created creator creation creating creates
develop developed developer development
manage managed manager manages management managing
own owned owner owns
replace replaced replacement replacing
expire expired expiry expiration expires
renew renewed renewal renewing
approve approved approval approves approver
deploy deployed deployment deploying
install installed installation installing
configure configured configuration configuring
reimburse reimbursed reimbursement
retain retained retention
die died death dies
arrive arrived arrival
depart departed departure
store stored storage stores storing
encrypt encrypted encryption
cancel cancelled canceled cancellation cancelling cancels
register registered registration registering
employ employed employs employing
translate translated translator translation
publish published publisher publication
produce produced producer production
locate located location
populate population populated
child children
man men
woman women
person people
mouse mice
datum data
index indices indexes indexed indexing
decide decided decision
respond responded response responds
need needs needed require required requirement requirements requires
allow allowed allows
lend lent
spend spent spending
weigh weighs weight weighed
high height
deep depth
wide width
hot heat
long length
strong strength
apply applied application applies applying
assign assigned assignment
notify notified notification
verify verified verification
authenticate authenticated authentication
authorize authorized authorization authorise authorised authorisation
delete deleted deletion deleting deletes
submit submitted submission submitting
maintain maintained maintenance maintains
perform performed performance
explain explanation
describe description
define definition defined
responsible responsibility
available availability
secure security
legal legally
vary variation
"""
FORMS = {form: line.split()[0] for line in _FORMS.strip().splitlines() for form in line.split()}

# What marks the part that a word has. "Of" and "'s" are one mark; `does` and `did` mark the doer.
_MARKING = (
    "from to in on at by with for than before after against of over under without through until since as between about"
)
MARKS = {
    **{word: word for word in _MARKING.split()},
    "regarding": "about", "concerning": "about", "into": "to", "onto": "to", "via": "through", "do": "does", "does": "does", "did": "does",
}  # fmt: skip
UNMARKED = listed("who whom i we you they he she it one someone anyone people")
CONFLICTS = (
    {"from", "to"}, {"before", "after"}, {"over", "under"}, {"with", "without"}, {"until", "since"}, {"by", "to"},
    {"for", "against"}, {"from", "for"}, {"from", "in"}, {"on", "from"}, {"than", "of"},
)  # fmt: skip
BE = listed("is are was were be been being get gets got getting gotten")
