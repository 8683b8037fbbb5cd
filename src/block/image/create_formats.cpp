#include "block/image/create_formats.h"

#include <algorithm>
#include <functional>

#include "base/bits.h"
#include "block/image/open_image.h"
#include "block/qed/image.h"
#include "block/vdi/image.h"
#include "block/vhdx/image.h"
#include "block/vmdk/create.h"
#include "block/vmdk/image.h"
#include "block/vpc/image.h"

namespace doppel::block {
namespace {

std::uint64_t size_of(const CreateImage& request) {
  return align_up(request.size.value_or(0), 512);
}

/// " NAME=VALUE" for each of NAMES that was given.
std::string told(const CreateImage& request, std::initializer_list<std::string_view> names) {
  const OptionValues values(request.options);
  std::string text;
  for (const std::string_view name : names)
    if (request.options.contains(name)) text += fmt::format(" {}={}", name, values.text(name));
  return text;
}

std::string_view on_off(bool on) {
  return on ? "on" : "off";
}

/// Dynamic or fixed, as vpc and vhdx call it; true: fixed.
Result<bool> fixed_subformat(const OptionValues& values) {
  const std::string text = values.text("subformat", "dynamic");
  if (text == "dynamic") return false;
  if (text == "fixed") return true;
  return fail(ErrorKind::kInvalidArgument, "subformat is dynamic or fixed, not '{}'", text);
}

/// Creates FILE, lets WRITE fill it, closes it.
Task<Result<>> write_file(Context& context, const std::string& filename,
                          const std::function<Task<Result<>>(Node&)>& write) {
  DOPPEL_CO_ASSIGN(const NodePtr file, create_file(context, filename));
  Task<Result<>> writing = write(*file);
  const Result<> written = co_await writing;
  const Result<> closed = co_await file->close();
  co_return written ? closed : written;
}

// --- vdi

constexpr OptionRow kVdiOptions[] = {
    {"size", "<size>", "Virtual disk size"},
    {"static", "<bool (on/off)>", "VDI static (pre-allocated) image"},
};

Result<vdi::CreateOptions> vdi_options(const CreateImage& request) {
  const OptionValues values(request.options);
  vdi::CreateOptions options{.size = size_of(request)};
  DOPPEL_ASSIGN(options.is_static, values.flag("static"));
  DOPPEL_TRY(vdi::check_options(options));
  return options;
}

Result<std::string> describe_vdi(const CreateImage& request) {
  DOPPEL_ASSIGN(const vdi::CreateOptions options, vdi_options(request));
  return fmt::format(" static={}", on_off(options.is_static));
}

Task<Result<>> create_vdi(Context& context, const CreateImage& request) {
  DOPPEL_CO_ASSIGN(const vdi::CreateOptions options, vdi_options(request));
  const std::function<Task<Result<>>(Node&)> write = [&](Node& file) { return vdi::create(file, options); };
  co_return co_await write_file(context, request.filename, write);
}

// --- vpc

constexpr OptionRow kVpcOptions[] = {
    {"force_size", "<bool (on/off)>", "Exactly this size, instead of the next that a geometry can have"},
    {"size", "<size>", "Virtual disk size"},
    {"subformat", "<str>", "dynamic (default) or fixed"},
};

Result<vpc::CreateOptions> vpc_options(const CreateImage& request) {
  const OptionValues values(request.options);
  vpc::CreateOptions options{.size = size_of(request)};
  DOPPEL_ASSIGN(options.fixed, fixed_subformat(values));
  DOPPEL_ASSIGN(options.force_size, values.flag("force_size"));
  DOPPEL_TRY(vpc::check_options(options));
  return options;
}

Result<std::string> describe_vpc(const CreateImage& request) {
  DOPPEL_TRY(vpc_options(request));
  return told(request, {"subformat", "force_size"});
}

Task<Result<>> create_vpc(Context& context, const CreateImage& request) {
  DOPPEL_CO_ASSIGN(const vpc::CreateOptions options, vpc_options(request));
  const std::function<Task<Result<>>(Node&)> write = [&](Node& file) { return vpc::create(file, options); };
  co_return co_await write_file(context, request.filename, write);
}

// --- vhdx

constexpr OptionRow kVhdxOptions[] = {
    {"block_size", "<size>", "From 1M to 256M; 0: by the disk's size"},
    {"block_state_zero", "<bool (on/off)>", "Blocks without data are marked as zeroes (default), not as absent"},
    {"log_size", "<size>", "Log size, at least 1M"},
    {"size", "<size>", "Virtual disk size, at most 64T"},
    {"subformat", "<str>", "dynamic (default) or fixed"},
};

Result<vhdx::CreateOptions> vhdx_options(const CreateImage& request) {
  const OptionValues values(request.options);
  vhdx::CreateOptions options{.size = size_of(request)};
  DOPPEL_ASSIGN(options.log_size, values.size("log_size", kMiB));
  DOPPEL_ASSIGN(options.block_size, values.size("block_size", 0));
  DOPPEL_ASSIGN(options.fixed, fixed_subformat(values));
  DOPPEL_ASSIGN(options.zero_state, values.flag("block_state_zero", "on"));
  DOPPEL_TRY(vhdx::check_options(options));
  return options;
}

Result<std::string> describe_vhdx(const CreateImage& request) {
  DOPPEL_ASSIGN(const vhdx::CreateOptions options, vhdx_options(request));
  return fmt::format(" log_size={} block_size={}", options.log_size, options.block_size) +
         told(request, {"subformat", "block_state_zero"});
}

Task<Result<>> create_vhdx(Context& context, const CreateImage& request) {
  DOPPEL_CO_ASSIGN(const vhdx::CreateOptions options, vhdx_options(request));
  const std::function<Task<Result<>>(Node&)> write = [&](Node& file) { return vhdx::create(file, options); };
  co_return co_await write_file(context, request.filename, write);
}

// --- qed

constexpr OptionRow kQedOptions[] = {
    {"backing_file", "<str>", "File name of a base image"},
    {"backing_fmt", "<str>", "Image format of the base image"},
    {"cluster_size", "<size>", "Cluster size (in bytes)"},
    {"size", "<size>", "Virtual disk size"},
    {"table_size", "<size>", "L1/L2 table size (in clusters)"},
};

Result<qed::CreateOptions> qed_options(const CreateImage& request) {
  const OptionValues values(request.options);
  qed::CreateOptions options{.size = size_of(request)};
  DOPPEL_ASSIGN(options.cluster_size, values.size("cluster_size", options.cluster_size));
  DOPPEL_ASSIGN(options.table_size, values.size("table_size", options.table_size));
  options.backing_file = values.text("backing_file");
  options.backing_is_raw = values.text("backing_fmt") == "raw";
  DOPPEL_TRY(qed::check_options(options));
  return options;
}

Result<std::string> describe_qed(const CreateImage& request) {
  DOPPEL_ASSIGN(const qed::CreateOptions options, qed_options(request));
  return told(request, {"backing_file", "backing_fmt"}) + fmt::format(" cluster_size={}", options.cluster_size) +
         told(request, {"table_size"});
}

Task<Result<>> create_qed(Context& context, const CreateImage& request) {
  DOPPEL_CO_ASSIGN(const qed::CreateOptions options, qed_options(request));
  const std::function<Task<Result<>>(Node&)> write = [&](Node& file) { return qed::create(file, options); };
  co_return co_await write_file(context, request.filename, write);
}

// --- vmdk

constexpr OptionRow kVmdkOptions[] = {
    {"adapter_type", "<str>", "Virtual adapter type: ide (default), lsilogic, buslogic or legacyESX"},
    {"backing_file", "<str>", "File name of a base image"},
    {"backing_fmt", "<str>", "Must be 'vmdk' if present"},
    {"compat6", "<bool (on/off)>", "VMDK version 6 image"},
    {"hwversion", "<str>", "VMDK hardware version"},
    {"size", "<size>", "Virtual disk size"},
    {"subformat", "<str>",
     "monolithicSparse (default), monolithicFlat, twoGbMaxExtentSparse, twoGbMaxExtentFlat or streamOptimized"},
    {"toolsversion", "<str>", "VMware guest tools version"},
    {"zeroed_grain", "<bool (on/off)>", "Enable efficient zero writes using the zeroed-grain GTE feature"},
};

Result<vmdk::CreateOptions> vmdk_options(const CreateImage& request) {
  const OptionValues values(request.options);
  vmdk::CreateOptions options{.size = size_of(request)};
  DOPPEL_ASSIGN(options.subformat, vmdk::parse_subformat(values.text("subformat", "monolithicSparse")));
  DOPPEL_ASSIGN(options.zeroed_grain, values.flag("zeroed_grain"));
  DOPPEL_ASSIGN(const bool version6, values.flag("compat6"));
  const std::string hardware = values.text("hwversion", "undefined");
  if (version6 && hardware != "undefined")
    return fail(ErrorKind::kInvalidArgument, "compat6 and hwversion do not go together");
  options.hardware_version = hardware != "undefined" ? hardware : version6 ? "6" : "4";
  options.adapter_type = values.text("adapter_type", options.adapter_type);
  options.tools_version = values.text("toolsversion", options.tools_version);
  options.parent = values.text("backing_file");
  if (!options.parent.empty() && values.text("backing_fmt", "vmdk") != "vmdk")
    return fail(ErrorKind::kInvalidArgument, "the backing file of a VMDK image must be a VMDK image too");
  DOPPEL_TRY(vmdk::check_options(options));
  return options;
}

Result<std::string> describe_vmdk(const CreateImage& request) {
  DOPPEL_TRY(vmdk_options(request));
  const OptionValues values(request.options);
  DOPPEL_ASSIGN(const bool version6, values.flag("compat6"));
  return told(request, {"adapter_type", "backing_file", "backing_fmt"}) +
         fmt::format(" compat6={} hwversion={}", on_off(version6), values.text("hwversion", "undefined")) +
         told(request, {"toolsversion", "subformat", "zeroed_grain"});
}

/// The parent's content id: without a look at the parent there is no such image.
Task<Result<std::uint32_t>> read_cid(Context& context, const std::string& filename) {
  ImageOptions options{.filename = filename, .format = "vmdk", .backing = Backing::kNone};
  options.file.locking = FileLocking::kOff;  // only looked at
  DOPPEL_CO_ASSIGN(const NodePtr parent, co_await open_image(context, std::move(options)));
  const std::uint32_t cid = dynamic_cast<const vmdk::Image&>(*parent).descriptor().cid;
  (void)co_await parent->close();
  co_return cid;
}

Task<Result<>> create_vmdk(Context& context, const CreateImage& request) {
  DOPPEL_CO_ASSIGN(vmdk::CreateOptions options, vmdk_options(request));
  if (!options.parent.empty()) {
    const std::string parent = beside(request.filename, options.parent);
    DOPPEL_CO_ASSIGN(options.parent_cid, co_await read_cid(context, parent));
  }
  const std::size_t slash = request.filename.rfind('/');
  const std::string folder = slash == std::string::npos ? "" : request.filename.substr(0, slash + 1);
  const std::string name = request.filename.substr(folder.size());
  const vmdk::CreateFile make = [&](const std::string& extent) { return create_file(context, folder + extent); };
  const std::function<Task<Result<>>(Node&)> write = [&](Node& file) {
    return vmdk::create(file, name, make, options);
  };
  co_return co_await write_file(context, request.filename, write);
}

constexpr CreateFormat kFormats[] = {
    {"vdi", kVdiOptions, describe_vdi, create_vdi, false},    {"vhdx", kVhdxOptions, describe_vhdx, create_vhdx, false},
    {"vmdk", kVmdkOptions, describe_vmdk, create_vmdk, true}, {"vpc", kVpcOptions, describe_vpc, create_vpc, false},
    {"qed", kQedOptions, describe_qed, create_qed, true},
};

}  // namespace

std::span<const CreateFormat> create_formats() {
  return kFormats;
}

const CreateFormat* find_create_format(std::string_view name) {
  const auto* found = std::ranges::find(kFormats, name, &CreateFormat::name);
  return found == std::end(kFormats) ? nullptr : found;
}

}  // namespace doppel::block
