import type { Platform } from "../errors.ts";

/** On WeChat, Official Accounts and Mini Programs together. */
const WEIXIN = [
  // Messages to users: customer service, templates, subscriptions, mass sends, updatable and device messages.
  "/cgi-bin/message",
  // Service cards in the user's list of messages.
  "/wxa/set_user_notify",
  "/wxa/set_user_notifyext",
  // Messages of single services: live rooms, apps of the runtime, stores, city services, promoters.
  "/wxa/business/push_message",
  "/wxa/business/runtime/pushappmsg",
  "/wxa/business/retailnotifybusiness",
  "/cityservice/sendmsgdata",
  "/cityservice/sendchannelmsg",
  "/promoter",
  // Text messages to telephones; and cloud functions, which may send anything to anybody.
  "/tcb/sendsms",
  "/tcb/sendsmsv2",
  "/tcb/createsendsmstask",
  "/tcb/invokecloudfunction",
  "/tcb/adddelayedfunctiontask",
  // Keys of the cloud that those functions run in.
  "/tcb/getqcloudtoken",
  // Conversations: sessions between staff and users, shopping guides with their mass sends, invitations of staff.
  "/customservice/kfsession/create",
  "/customservice/kfsession/close",
  "/customservice/kfaccount/inviteworker",
  "/cgi-bin/guide",
  // What production's messages are made of: a template that is gone takes its messages along.
  "/cgi-bin/template/api_set_industry",
  "/cgi-bin/template/api_add_template",
  "/cgi-bin/template/del_private_template",
  "/wxaapi/newtmpl/addtemplate",
  "/wxaapi/newtmpl/deltemplate",
  // What every follower sees at once: menus, published articles and the comments beneath them, reviews.
  "/cgi-bin/menu/create",
  "/cgi-bin/menu/delete",
  "/cgi-bin/menu/addconditional",
  "/cgi-bin/menu/delconditional",
  "/cgi-bin/freepublish/submit",
  "/cgi-bin/freepublish/delete",
  "/cgi-bin/comment/open",
  "/cgi-bin/comment/close",
  "/cgi-bin/comment/markelect",
  "/cgi-bin/comment/unmarkelect",
  "/cgi-bin/comment/delete",
  "/cgi-bin/comment/reply",
  "/wxaapi/comment/commentreply",
  "/wxaapi/comment/confirmcompromise",
  // What every user sees of a Mini Program, and its live rooms.
  "/wxa/release",
  "/wxa/revertcoderelease",
  "/wxa/grayrelease",
  "/wxa/revertgrayrelease",
  "/wxa/change_visitstatus",
  "/wxaapi/broadcast",
  // Payments: virtual ones, those of games, of public fees and between businesses; gifts and lotteries of money.
  "/xpay",
  "/cgi-bin/midas",
  "/wxa/game/pay",
  "/wxa/game/cancelpay",
  "/wxa/game/present",
  "/nontax",
  "/retail",
  "/redpacketcover",
  "/shakearound/lottery",
  "/wxa/business/insurance_freight",
  // Cards, coupons, invoices and memberships that users hold.
  "/card",
  "/wxa/vip/user/info/add",
  "/wxa/vip/user/info/update",
  "/wxa/vip/user/info/delete",
  // Shops: orders, refunds, prices, deliveries; users are told of each.
  "/shop",
  "/product",
  "/merchant",
  "/channels",
  "/union",
  "/mall",
  "/user-order",
  "/wxaapi/minishop",
  "/wxa/sec/order/upload_shipping_info",
  "/wxa/sec/order/upload_combined_shipping_info",
  "/wxa/sec/order/notify_confirm_receive",
  "/wxa/sec/order/opspecialorder",
  "/wxa/sec/order/set_msg_jump_path",
  "/cgi-bin/express",
  // Things that users have at home, and employments of theirs.
  "/device",
  "/hardware",
  "/wxa/business/unbinduserb2cauthinfo",
];

/** On WeCom, where a user is a member of staff, a customer or a parent. */
const WECOM = [
  // Messages to members, groups of members, linked corps and by group robots.
  "/cgi-bin/message",
  "/cgi-bin/appchat/create",
  "/cgi-bin/appchat/update",
  "/cgi-bin/appchat/send",
  "/cgi-bin/linkedcorp/message",
  "/cgi-bin/webhook",
  "/cgi-bin/aibot",
  // Messages to customers and parents: mass sends, allowsOrigin, moments.
  "/cgi-bin/externalcontact/message",
  "/cgi-bin/externalcontact/add_msg_template",
  "/cgi-bin/externalcontact/remind_groupmsg_send",
  "/cgi-bin/externalcontact/cancel_groupmsg_send",
  "/cgi-bin/externalcontact/send_welcome_msg",
  "/cgi-bin/externalcontact/group_welcome_template/add",
  "/cgi-bin/externalcontact/group_welcome_template/edit",
  "/cgi-bin/externalcontact/group_welcome_template/del",
  "/cgi-bin/externalcontact/add_moment_task",
  "/cgi-bin/externalcontact/cancel_moment_task",
  // Changes of who talks to a customer, of which the customer is told.
  "/cgi-bin/externalcontact/transfer",
  "/cgi-bin/externalcontact/transfer_customer",
  "/cgi-bin/externalcontact/resigned/transfer_customer",
  "/cgi-bin/externalcontact/groupchat/transfer",
  "/cgi-bin/externalcontact/groupchat/onjob_transfer",
  "/cgi-bin/externalcontact/close_temp_chat",
  // Customer service: messages, and sessions that are handed on or offered.
  "/cgi-bin/kf/send_msg",
  "/cgi-bin/kf/send_msg_on_event",
  "/cgi-bin/kf/service_state/trans",
  "/cgi-bin/kf/customer/upgrade_service",
  "/cgi-bin/kf/customer/cancel_upgrade_service",
  // Mail and telephone calls.
  "/cgi-bin/exmail/app/compose_send",
  "/cgi-bin/pstncc/call",
  "/cgi-bin/meeting/phone/callout",
  "/cgi-bin/meeting/rooms/call",
  // Invitations to join the corp, which go out as messages: new members get one unless it is declined.
  "/cgi-bin/batch/invite",
  "/cgi-bin/batch/syncuser",
  "/cgi-bin/batch/replaceuser",
  "/cgi-bin/user/create",
  "/cgi-bin/corpgroup/import_chain_contact",
  // Meetings, live streams, appointments and approvals, of which everybody concerned is told.
  "/cgi-bin/meeting/create",
  "/cgi-bin/meeting/update",
  "/cgi-bin/meeting/cancel",
  "/cgi-bin/meeting/set_guests",
  "/cgi-bin/meeting/set_invitees",
  "/cgi-bin/meeting/realcontrol",
  "/cgi-bin/meeting/webinar/create",
  "/cgi-bin/meeting/webinar/update",
  "/cgi-bin/meeting/webinar/cancel",
  "/cgi-bin/meeting/webinar/update_guest_list",
  "/cgi-bin/living/create",
  "/cgi-bin/living/modify",
  "/cgi-bin/living/cancel",
  "/cgi-bin/oa/schedule/add",
  "/cgi-bin/oa/schedule/update",
  "/cgi-bin/oa/schedule/del",
  "/cgi-bin/oa/schedule/add_attendees",
  "/cgi-bin/oa/schedule/del_attendees",
  "/cgi-bin/oa/meetingroom/book",
  "/cgi-bin/oa/meetingroom/book_by_schedule",
  "/cgi-bin/oa/meetingroom/book_by_meeting",
  "/cgi-bin/oa/meetingroom/cancel_book",
  "/cgi-bin/oa/applyevent",
  // What every member sees of an application.
  "/cgi-bin/menu/create",
  "/cgi-bin/menu/delete",
  "/cgi-bin/agent/set_workbench_template",
  "/cgi-bin/agent/set_workbench_data",
  "/cgi-bin/agent/batch_set_workbench_data",
  // Payments, orders that cost money, and the state of invoices that users hold.
  "/cgi-bin/externalpay",
  "/cgi-bin/miniapppay",
  "/cgi-bin/paytool",
  "/cgi-bin/license",
  "/cgi-bin/advanced_api",
  "/cgi-bin/card/invoice/reimburse/updateinvoicestatus",
  "/cgi-bin/card/invoice/reimburse/updatestatusbatch",
];

/**
 * What reaches real users or moves money, as patterns: each with everything below it.
 *
 * Where a whole family is named, its reads are closed too; a client's own list can open them.
 */
export const MESSAGING_PATHS: Readonly<Record<Platform, readonly string[]>> = {
  weixin: WEIXIN.map((path) => `${path}/**`),
  wecom: WECOM.map((path) => `${path}/**`),
};
