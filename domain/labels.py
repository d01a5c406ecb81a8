"""What each event is called by people, in Chinese and English."""

from collections.abc import Mapping

LABELS: Mapping[str, tuple[str, str]] = {
    "order.received": ("订单接收", "received"),
    "order.normalized": ("标准化", "normalized"),
    "order.amended": ("渠道变更", "amended by the channel"),
    "order.repeated": ("重复消息", "repeated"),
    "order.outdated": ("过期消息", "outdated"),
    "order.paid": ("已付款", "paid"),
    "order.deposit_paid": ("已付定金", "deposit paid"),
    "order.reserved": ("库存预留", "stock reserved"),
    "order.reservation_failed": ("预留失败", "reservation failed"),
    "order.released": ("释放预留", "allocation given back"),
    "order.pick_list_issued": ("下发拣货单", "pick list issued"),
    "order.picked": ("已拣货出库", "picked"),
    "order.partially_shipped": ("部分发货", "partially shipped"),
    "order.shipped": ("已发货", "shipped"),
    "order.completed": ("已完成", "completed"),
    "order.cancelled": ("已取消", "cancelled"),
    "order.lines_cancelled": ("部分取消", "lines cancelled"),
    "order.after_sale_opened": ("售后申请", "after-sale opened"),
    "order.after_sale_closed": ("售后关闭", "after-sale closed"),
    "order.refunded": ("已退款", "refunded"),
    "order.intercepted": ("拦截", "intercepted"),
    "order.resolved": ("拦截解除", "interception resolved"),
    "order.refused": ("已拒绝", "refused"),
    "order.quarantined": ("隔离", "quarantined"),
    "order.queued_behind": ("排队等待", "queued behind"),
    "order.queue_released": ("队列放行", "queue released"),
    "order.effect_succeeded": ("外部动作成功", "effect succeeded"),
    "order.effect_failed": ("外部动作失败", "effect failed"),
    "order.timer_set": ("设定定时", "timer set"),
    "order.timer_cleared": ("清除定时", "timer cleared"),
    "stock.received": ("入库", "stock received"),
    "stock.adjusted": ("盘点调整", "stock adjusted"),
    "stock.protected": ("保护库存", "stock protected"),
    "stock.reserved": ("占用", "reserved"),
    "stock.pre_reserved": ("预占", "pre-reserved"),
    "stock.reservation_refused": ("库存不足", "reservation refused"),
    "stock.released": ("释放占用", "released"),
    "stock.picked_out": ("拣货出库", "picked out"),
    "stock.issued": ("直接出库", "issued"),
    "stock.refused": ("已拒绝", "refused"),
    "intake.hinted": ("推送提示", "hint"),
    "intake.ignored": ("忽略", "ignored"),
    "intake.refused": ("拒收", "refused"),
    "intake.quarantined": ("隔离", "quarantined"),
    "intake.unmatched": ("未匹配", "unmatched"),
    "intake.discarded": ("弃置", "discarded"),
    "intake.reconciled": ("对账补采", "reconciled"),
    "mapping.changed": ("字段映射变更", "field mapping changed"),
    "mapping.refused": ("已拒绝", "refused"),
    "cell.mail_lost": ("消息丢失", "mail lost"),
    "cell.refused": ("已拒绝", "refused"),
    "cell.broker_reset": ("消息代理重置", "broker reset"),
}
"""Tag → (Chinese, English)."""


def label_of(tag: str) -> str:
    """Return both names of an event; the tag itself where it is not known."""
    chinese, english = LABELS.get(tag, ("", tag))
    return f"{chinese} {english}".strip()
