"""`up`: run OrderSpine on a data directory."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from runners.commands.common import DATA_DEFAULT, DataOption, Exit, Failure, directory_named, quiet_log


def up(
    *,
    data: DataOption = DATA_DEFAULT,
    clock: Annotated[
        Literal["real", "mail"] | None,
        Parameter(help="What timers go by: this machine's clock, or the times in the mail (simulated, historic)."),
    ] = None,
    store: Annotated[
        str | None, Parameter(help="`sqlite`, or a PostgreSQL address: postgresql://user:password@host/database")
    ] = None,
    broker: Annotated[
        str | None, Parameter(help="`embedded`, or the address of a NATS server: nats://user:password@host:4222")
    ] = None,
    simulate: Annotated[bool, Parameter(negative="", help="Feed it with a few simulated sales channels.")] = False,
    witness: Annotated[
        Path | None,
        Parameter(
            converter=directory_named,
            help="Folder out of this machine's reach (a mounted share) that signed checkpoints are copied to, from now "
            "on at every start.",
        ),
    ] = None,
    new_keys: Annotated[
        bool,
        Parameter(negative="", help="Make new keys where those of the events are lost for good, and nowhere else."),
    ] = False,
) -> Exit:
    """Run OrderSpine: broker, worker, projector and relay; Ctrl-C stops it.

    What is chosen here on the first start is kept with the data; the other verbs then need --data only.
    """
    import asyncio  # noqa: PLC0415

    from adapters.channels import ChannelSetupError  # noqa: PLC0415
    from adapters.nats.errors import BrokerError  # noqa: PLC0415
    from runners.lock import DataInUse, DataTooNew, DataUnreadable  # noqa: PLC0415
    from runners.settings import BadSetting  # noqa: PLC0415
    from runners.upstart import Conflicting, StoreUnusable, prepared, run  # noqa: PLC0415

    quiet_log()
    try:
        with prepared(
            data,
            clock=clock,
            store=store,
            broker=broker,
            witness=str(witness.resolve()) if witness else None,
            new_keys=new_keys,
        ) as settings:
            return Exit(asyncio.run(run(settings, simulate=simulate)))
    except (Conflicting, BadSetting, ChannelSetupError) as error:
        raise Failure(Exit.USAGE, str(error)) from error
    except (DataInUse, DataTooNew, DataUnreadable, StoreUnusable) as error:
        raise Failure(Exit.DATA, str(error)) from error
    except BrokerError as error:
        raise Failure(Exit.DATA, f"the broker cannot be used: {error}") from error
