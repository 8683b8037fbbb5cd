// amend: changes what an image was created with.
#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "base/bits.h"
#include "base/text.h"
#include "block/image/create_image.h"
#include "tools/img/command.h"

namespace doppel::img {
namespace {

constexpr OptionRow kOptions[] = {
    {'f', "", true}, {'o', "", true}, {'t', "", true}, {'p', "", false}, {'q', "", false}, {0, "force", false},
};

// ---- What each format can change

constexpr auto kQcow2Names = std::to_array<std::string_view>({"compat", "lazy_refcounts", "size"});
/// In qcow2 with kEncrypt in front.
constexpr auto kPasswordNames =
    std::to_array<std::string_view>({"state", "new-secret", "old-secret", "keyslot", "iter-time"});
constexpr std::string_view kEncrypt = "encrypt.";

Result<> check_names(const block::OptionTexts& options, bool qcow2) {
  std::vector<std::string> known;
  if (qcow2) known.assign(kQcow2Names.begin(), kQcow2Names.end());
  for (const std::string_view name : kPasswordNames)
    known.push_back(fmt::format("{}{}", qcow2 ? kEncrypt : std::string_view(), name));
  for (const auto& [name, value] : options) {
    if (std::ranges::find(known, name) != known.end()) continue;
    if (name.starts_with("backing_"))
      return fail(ErrorKind::kUnsupported, "'{}' cannot be amended; 'rebase' changes the backing file", name);
    NearestName nearest(name);
    for (const std::string& each : known) nearest.offer(each);
    return fail(ErrorKind::kUnsupported, "'{}' cannot be amended{}", name, nearest.suggestion());
  }
  return {};
}

// ---- qcow2's own

Result<> upgrade(Session& session, block::qcow2::Image& image, const std::string& compat) {
  if (compat == "1.1" || compat == "v3") return session.run(image.upgrade());
  if (compat != "0.10" && compat != "v2")
    return fail(ErrorKind::kInvalidArgument, "compat is 0.10 (or v2) or 1.1 (or v3), not '{}'", compat);
  if (image.header().version == 2) return {};
  return fail(ErrorKind::kUnsupported,
              "a version 3 image cannot become version 2 again; convert it with -o compat=0.10");
}

/// In an order that lets one change make the next possible.
Result<> apply(Session& session, block::qcow2::Image& image, const block::NodeOptions& options) {
  if (const auto compat = options.text("compat")) DOPPEL_TRY(upgrade(session, image, *compat));
  if (const auto text = options.text("lazy_refcounts")) {
    DOPPEL_ASSIGN(const bool lazy, parse_bool(*text));
    DOPPEL_TRY(session.run(image.set_lazy_refcounts(lazy)));
  }
  if (const auto text = options.text("size")) {
    DOPPEL_ASSIGN(const std::uint64_t size, parse_size(*text));
    if (size < image.size())
      return fail(ErrorKind::kInvalidArgument, "amend does not shrink an image; 'resize --shrink' does");
    DOPPEL_TRY(session.run(image.resize(align_up(size, 512), block::Preallocation::kOff)));
  }
  return {};
}

// ---- Passwords

/// The password of the secret that option NAME tells the id of.
Result<std::optional<block::SecretBytes>> secret_of(Session& session, const block::NodeOptions& options,
                                                    std::string_view name) {
  const auto id = options.text(name);
  if (!id) return std::optional<block::SecretBytes>();
  DOPPEL_ASSIGN(block::SecretBytes password, session.graph().secrets().find(*id));
  return std::optional(std::move(password));
}

/// The password that --image-opts opened the image with.
Result<std::optional<block::SecretBytes>> opening_password(Session& session, const OpenRequest& request) {
  const block::NodeOptions options = request.nodes.value_or(block::NodeOptions());
  return secret_of(session, options, options.has("key-secret") ? "key-secret" : "encrypt.key-secret");
}

Result<std::optional<std::uint64_t>> number_of(const block::NodeOptions& options, std::string_view name) {
  const auto text = options.text(name);
  if (!text) return std::optional<std::uint64_t>();
  const auto number = parse_number(*text);
  if (!number) return fail(ErrorKind::kInvalidArgument, "{}= is a number, not '{}'", name, *text);
  return std::optional<std::uint64_t>(*number);
}

Result<block::LuksChange> password_change(Session& session, const block::NodeOptions& options) {
  const std::string state = options.text_or("state", "");
  if (state != "active" && state != "inactive")
    return fail(ErrorKind::kInvalidArgument,
                "what is to change? state=active adds a password, state=inactive takes one");
  block::LuksChange change{.activate = state == "active"};
  DOPPEL_ASSIGN(change.new_password, secret_of(session, options, "new-secret"));
  DOPPEL_ASSIGN(change.old_password, secret_of(session, options, "old-secret"));
  DOPPEL_ASSIGN(change.slot, number_of(options, "keyslot"));
  DOPPEL_ASSIGN(change.iteration_ms, number_of(options, "iter-time"));
  return change;
}

Result<block::NodeOptions> wanted_changes(const Arguments& arguments) {
  if (!arguments.has("o")) return fail(ErrorKind::kInvalidArgument, "-o is missing, such as -o compat=1.1");
  block::OptionTexts texts;
  for (const std::string& text : arguments.values("o")) {
    DOPPEL_ASSIGN(const auto options, block::parse_options(text));
    for (const auto& [name, value] : options) texts[name] = value;
  }
  return block::NodeOptions(std::move(texts));
}

Result<int> run(Session& session, const Arguments& arguments) {
  DOPPEL_ASSIGN(const std::string filename, only_filename(arguments));
  DOPPEL_ASSIGN(const block::NodeOptions changes, wanted_changes(arguments));
  DOPPEL_ASSIGN(OpenRequest request, image_options(arguments, filename, true));
  request.backing = block::Backing::kNone;
  request.metadata_only = true;
  DOPPEL_ASSIGN(const auto password, opening_password(session, request));
  DOPPEL_ASSIGN(OpenImage image, OpenImage::open(session, request));
  block::qcow2::Image* const qcow2 = image.qcow2();
  if (image.password_holder() == nullptr)
    return fail(ErrorKind::kUnsupported, "'{}': images of format {} cannot be amended", filename,
                image.node().info().format);
  DOPPEL_TRY(check_names(changes.texts(), qcow2 != nullptr));
  if (const auto options = qcow2 != nullptr ? changes.members("encrypt") : changes; !options.empty()) {
    DOPPEL_ASSIGN(block::LuksChange change, password_change(session, options));
    change.force = arguments.has("force");
    DOPPEL_TRY(session.run(image.password_holder()->change_passwords(password, change)));
  }
  if (qcow2 != nullptr) DOPPEL_TRY(apply(session, *qcow2, changes));
  DOPPEL_TRY(image.close());
  return 0;
}

}  // namespace

const Command kAmend{"amend", "[-q] [-p] [-f FMT] [-t CACHE] [--force] -o OPTIONS FILE", kOptions, run};

}  // namespace doppel::img
