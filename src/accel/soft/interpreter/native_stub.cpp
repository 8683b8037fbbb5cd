#include "accel/soft/interpreter/native_stub.h"

#include <algorithm>
#include <array>
#include <string>
#include <unordered_map>

#include "accel/soft/interpreter/gather.h"
#include "accel/soft/interpreter/register_offset.h"
#include "accel/soft/interpreter/stub_emitter.h"
#include "accel/soft/interpreter/stub_execution.h"
#include "accel/soft/interpreter/unstubbed.h"
#include "accel/soft/runtime/code_memory.h"

namespace doppel::accel::soft {

namespace {

constexpr std::size_t kCodeCapacity = std::size_t{16} << 20U;  // bytes
constexpr std::size_t kClearAt = kCodeCapacity / 8 * 7;

template <class T, std::size_t N>
constexpr bool contains(const std::array<T, N>& list, T value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

/// Extensions that need no privilege and touch nothing but registers that stubs carry, flags and memory.
constexpr std::array kExtensions = {
    ZYDIS_ISA_EXT_ADOX_ADCX,  ZYDIS_ISA_EXT_AES,        ZYDIS_ISA_EXT_AVX,       ZYDIS_ISA_EXT_AVX2,
    ZYDIS_ISA_EXT_AVX2GATHER, ZYDIS_ISA_EXT_AVX512EVEX, ZYDIS_ISA_EXT_AVX512VEX, ZYDIS_ISA_EXT_AVXAES,
    ZYDIS_ISA_EXT_AVX_VNNI,   ZYDIS_ISA_EXT_BMI1,       ZYDIS_ISA_EXT_BMI2,      ZYDIS_ISA_EXT_F16C,
    ZYDIS_ISA_EXT_FMA,        ZYDIS_ISA_EXT_GFNI,       ZYDIS_ISA_EXT_LZCNT,     ZYDIS_ISA_EXT_MMX,
    ZYDIS_ISA_EXT_MOVBE,      ZYDIS_ISA_EXT_PCLMULQDQ,  ZYDIS_ISA_EXT_RDRAND,    ZYDIS_ISA_EXT_RDSEED,
    ZYDIS_ISA_EXT_SHA,        ZYDIS_ISA_EXT_SSE,        ZYDIS_ISA_EXT_SSE2,      ZYDIS_ISA_EXT_SSE3,
    ZYDIS_ISA_EXT_SSE4,       ZYDIS_ISA_EXT_SSE4A,      ZYDIS_ISA_EXT_SSSE3,     ZYDIS_ISA_EXT_VAES,
    ZYDIS_ISA_EXT_VPCLMULQDQ,
};

bool host_has_encoding(ZydisInstructionEncoding encoding) {
  switch (encoding) {
    case ZYDIS_INSTRUCTION_ENCODING_LEGACY: return true;
    case ZYDIS_INSTRUCTION_ENCODING_VEX: return host_vectors() >= HostVectors::kAvx;
    case ZYDIS_INSTRUCTION_ENCODING_EVEX: return host_vectors() >= HostVectors::kAvx512f;
    default: return false;
  }
}

bool is_supported(const Decoded& decoded) {
  const ZydisDecodedInstruction& zydis = decoded.zydis;
  // VEX and EVEX are no prefixes there (SDM 2A 2.8.1).
  if (zydis.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY && decoded.mode == CodeMode::kReal16) return false;
  return is_native_extension(zydis);
}

}  // namespace

bool is_x87(const ZydisDecodedInstruction& zydis) {
  return zydis.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY && zydis.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT &&
         (zydis.opcode & 0xf8U) == 0xd8;
}

bool is_native_extension(const ZydisDecodedInstruction& zydis) {
  return host_has_encoding(zydis.encoding) && (is_x87(zydis) || contains(kExtensions, zydis.meta.isa_ext));
}

namespace {

/// Moves, logic and the like: operands may be called floating-point, but nothing is calculated.
constexpr std::array kWithoutMxcsr = {ZYDIS_CATEGORY_DATAXFER, ZYDIS_CATEGORY_LOGICAL_FP, ZYDIS_CATEGORY_BROADCAST,
                                      ZYDIS_CATEGORY_BLEND};

/// Exception types with SIMD floating-point exceptions (SDM 2A tables 2-18 and 2-38).
constexpr std::array kWithSimdExceptions = {
    ZYDIS_EXCEPTION_CLASS_SSE2,  ZYDIS_EXCEPTION_CLASS_SSE3, ZYDIS_EXCEPTION_CLASS_AVX2,  ZYDIS_EXCEPTION_CLASS_AVX3,
    ZYDIS_EXCEPTION_CLASS_AVX11, ZYDIS_EXCEPTION_CLASS_E2,   ZYDIS_EXCEPTION_CLASS_E2NF,  ZYDIS_EXCEPTION_CLASS_E3,
    ZYDIS_EXCEPTION_CLASS_E3NF,  ZYDIS_EXCEPTION_CLASS_E11,  ZYDIS_EXCEPTION_CLASS_E11NF,
};

bool uses_mxcsr(const Decoded& decoded) {
  if (contains(kWithSimdExceptions, decoded.zydis.meta.exception_class)) return true;
  if (contains(kWithoutMxcsr, decoded.zydis.meta.category)) return false;
  return std::ranges::any_of(decoded.operands, [](const ZydisDecodedOperand& operand) {
    return operand.element_type == ZYDIS_ELEMENT_TYPE_FLOAT16 || operand.element_type == ZYDIS_ELEMENT_TYPE_FLOAT32 ||
           operand.element_type == ZYDIS_ELEMENT_TYPE_FLOAT64;
  });
}

void plan_register(const ZydisDecodedOperand& operand, StubPlan& plan) {
  const ZydisRegister reg = operand.reg.value;
  const bool written = (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
  const auto number = static_cast<unsigned>(ZydisRegisterGetId(reg));
  switch (ZydisRegisterGetClass(reg)) {
    case ZYDIS_REGCLASS_GPR8:
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64: {
      const ZydisRegister whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);
      plan.gpr.add(static_cast<unsigned>(ZydisRegisterGetId(whole)), written);
      break;
    }
    case ZYDIS_REGCLASS_XMM:
    case ZYDIS_REGCLASS_YMM:
    case ZYDIS_REGCLASS_ZMM: plan.vector.add(number, written); break;
    case ZYDIS_REGCLASS_MASK: plan.mask.add(number, written); break;
    case ZYDIS_REGCLASS_MMX: plan.x87 = true; break;
    default: break;
  }
}

StubPlan plan_of(const Decoded& decoded) {
  const ZydisDecodedInstruction& zydis = decoded.zydis;
  StubPlan plan;
  plan.encoding = zydis.encoding;
  plan.x87 = is_x87(zydis) || zydis.mnemonic == ZYDIS_MNEMONIC_EMMS;
  for (const ZydisDecodedOperand& operand : decoded.operands) {
    if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER) plan_register(operand, plan);
    if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY) continue;
    plan.memory = true;
    plan.memory_in_rdi = operand.visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN;
  }
  // Both registers of a pair are written, one is named.
  if (zydis.mnemonic == ZYDIS_MNEMONIC_VP2INTERSECTD || zydis.mnemonic == ZYDIS_MNEMONIC_VP2INTERSECTQ)
    plan.mask.add(static_cast<unsigned>(ZydisRegisterGetId(decoded.operand(0).reg.value)) ^ 1U, true);
  plan.mxcsr = !plan.x87 && uses_mxcsr(decoded);
  if (zydis.cpu_flags != nullptr) {
    const ZydisAccessedFlags& flags = *zydis.cpu_flags;
    const auto any = flags.tested | flags.modified | flags.set_0 | flags.set_1 | flags.undefined;
    plan.flags = (any & x86::rflags::kArithmetic) != 0;
  }
  return plan;
}

Requirement requirement_of(const Decoded& decoded, const StubPlan& plan) {
  if (is_x87(decoded.zydis)) return requirement::kX87;
  if (decoded.zydis.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX || plan.mask.used != 0) return requirement::kAvx512;
  if (plan.vector.used != 0)
    return decoded.zydis.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX ? requirement::kAvx : requirement::kSse;
  return plan.x87 ? requirement::kMmx : requirement::kNone;
}

/// SSE operands of 16 bytes are aligned but for these (and SHA's, which AMD's processors let be as they are); with VEX
/// and EVEX only those of the moves that say so (SDM 1 14.9).
constexpr std::array kSseUnaligned = {
    ZYDIS_MNEMONIC_MOVUPS,    ZYDIS_MNEMONIC_MOVUPD,    ZYDIS_MNEMONIC_MOVDQU,
    ZYDIS_MNEMONIC_LDDQU,     ZYDIS_MNEMONIC_PCMPESTRI, ZYDIS_MNEMONIC_PCMPESTRM,
    ZYDIS_MNEMONIC_PCMPISTRI, ZYDIS_MNEMONIC_PCMPISTRM, ZYDIS_MNEMONIC_MASKMOVDQU,
};
constexpr std::array kAvxAligned = {
    ZYDIS_MNEMONIC_VMOVAPS,   ZYDIS_MNEMONIC_VMOVAPD,   ZYDIS_MNEMONIC_VMOVDQA,
    ZYDIS_MNEMONIC_VMOVDQA32, ZYDIS_MNEMONIC_VMOVDQA64, ZYDIS_MNEMONIC_VMOVNTPS,
    ZYDIS_MNEMONIC_VMOVNTPD,  ZYDIS_MNEMONIC_VMOVNTDQ,  ZYDIS_MNEMONIC_VMOVNTDQA,
};

std::uint16_t alignment_mask(const Decoded& decoded, unsigned size) {
  const ZydisMnemonic mnemonic = decoded.zydis.mnemonic;
  const bool aligned =
      decoded.zydis.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY
          ? size == 16 && !contains(kSseUnaligned, mnemonic) && decoded.zydis.meta.isa_ext != ZYDIS_ISA_EXT_SHA
          : contains(kAvxAligned, mnemonic);
  return static_cast<std::uint16_t>(aligned ? size - 1 : 0);
}

/// How many elements a broadcast makes of its operand; 0: it is none.
unsigned broadcast_lanes(ZydisBroadcastMode mode) {
  switch (mode) {
    case ZYDIS_BROADCAST_MODE_1_TO_2: return 2;
    case ZYDIS_BROADCAST_MODE_1_TO_4:
    case ZYDIS_BROADCAST_MODE_2_TO_4: return 4;
    case ZYDIS_BROADCAST_MODE_1_TO_8:
    case ZYDIS_BROADCAST_MODE_2_TO_8:
    case ZYDIS_BROADCAST_MODE_4_TO_8: return 8;
    case ZYDIS_BROADCAST_MODE_1_TO_16:
    case ZYDIS_BROADCAST_MODE_2_TO_16:
    case ZYDIS_BROADCAST_MODE_4_TO_16:
    case ZYDIS_BROADCAST_MODE_8_TO_16: return 16;
    case ZYDIS_BROADCAST_MODE_1_TO_32: return 32;
    case ZYDIS_BROADCAST_MODE_1_TO_64: return 64;
    default: return 0;
  }
}

/// Exception types whose memory faults masked-out elements suppress (SDM 2A 2.8).
constexpr std::array kFaultSuppression = {
    ZYDIS_EXCEPTION_CLASS_E1, ZYDIS_EXCEPTION_CLASS_E2, ZYDIS_EXCEPTION_CLASS_E3,  ZYDIS_EXCEPTION_CLASS_E4,
    ZYDIS_EXCEPTION_CLASS_E5, ZYDIS_EXCEPTION_CLASS_E6, ZYDIS_EXCEPTION_CLASS_E10, ZYDIS_EXCEPTION_CLASS_E11,
};

/// Those that the decoder counts among them in error: their result's elements are no elements of the operand.
constexpr std::array kWithoutFaultSuppression = {ZYDIS_MNEMONIC_VGF2P8AFFINEQB, ZYDIS_MNEMONIC_VGF2P8AFFINEINVQB,
                                                 ZYDIS_MNEMONIC_VDBPSADBW, ZYDIS_MNEMONIC_VPMULTISHIFTQB,
                                                 ZYDIS_MNEMONIC_VCVTNE2PS2BF16};

constexpr std::array kMaskedMoves = {ZYDIS_MNEMONIC_VMASKMOVPS, ZYDIS_MNEMONIC_VMASKMOVPD, ZYDIS_MNEMONIC_VPMASKMOVD,
                                     ZYDIS_MNEMONIC_VPMASKMOVQ};
constexpr std::array kByteMaskedMoves = {ZYDIS_MNEMONIC_MASKMOVQ, ZYDIS_MNEMONIC_MASKMOVDQU,
                                         ZYDIS_MNEMONIC_VMASKMOVDQU};

std::uint8_t register_number(ZydisRegister reg) {
  return static_cast<std::uint8_t>(ZydisRegisterGetId(reg));
}

/// Of the result, if that is a vector register, else 0.
unsigned result_elements(const Decoded& decoded) {
  if (!decoded.is_register(0)) return 0;
  const ZydisRegisterClass kind = ZydisRegisterGetClass(decoded.operand(0).reg.value);
  const bool vector = kind == ZYDIS_REGCLASS_XMM || kind == ZYDIS_REGCLASS_YMM || kind == ZYDIS_REGCLASS_ZMM;
  return vector ? decoded.operand(0).element_count : 0;
}

void describe_opmask(const Decoded& decoded, NativeStub& stub) {
  const ZydisDecodedInstruction& zydis = decoded.zydis;
  const bool masks = zydis.avx.mask.mode != ZYDIS_MASK_MODE_INVALID &&
                     zydis.avx.mask.mode != ZYDIS_MASK_MODE_DISABLED && zydis.avx.mask.reg != ZYDIS_REGISTER_K0;
  if (!masks) return;
  stub.mask_register = register_number(zydis.avx.mask.reg);
  if (zydis.meta.category == ZYDIS_CATEGORY_COMPRESS || zydis.meta.category == ZYDIS_CATEGORY_EXPAND) {
    stub.active = ActiveElements::kOpmaskCount;
    return;
  }
  const bool suppresses =
      contains(kFaultSuppression, zydis.meta.exception_class) && !contains(kWithoutFaultSuppression, zydis.mnemonic);
  if (suppresses || stub.writes_memory) {
    stub.faults_as_a_whole = !suppresses;
    stub.active = ActiveElements::kOpmask;
    const unsigned lanes = broadcast_lanes(zydis.avx.broadcast.mode);
    stub.lanes = lanes != 0 ? static_cast<std::uint8_t>(lanes) : stub.elements;
    // Dot products take several elements of the operand for one of the result.
    const unsigned results = result_elements(decoded);
    if (lanes == 0 && results != 0 && results < stub.elements) {
      stub.lanes = stub.elements = static_cast<std::uint8_t>(results);
      stub.element_size = static_cast<std::uint8_t>(stub.memory_size / results);
    }
  }
}

void describe_memory(const Decoded& decoded, const ZydisDecodedOperand& memory, NativeStub& stub) {
  const ZydisDecodedInstruction& zydis = decoded.zydis;
  stub.memory_size = memory.size / 8U;
  stub.alignment_mask = alignment_mask(decoded, stub.memory_size);
  stub.reads_memory = (memory.actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0;
  stub.writes_memory = (memory.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
  if (contains(kByteMaskedMoves, zydis.mnemonic)) {
    stub.active = ActiveElements::kByteSignBits;
    stub.mask_register = register_number(decoded.operand(1).reg.value);
    stub.element_size = 1;
  } else {
    stub.element_size = static_cast<std::uint8_t>(memory.element_size / 8U);
  }
  if (stub.element_size != 0) stub.elements = static_cast<std::uint8_t>(stub.memory_size / stub.element_size);
  if (contains(kMaskedMoves, zydis.mnemonic)) {
    stub.active = ActiveElements::kSignBits;
    stub.mask_register = register_number(decoded.operand(1).reg.value);
  }
  describe_opmask(decoded, stub);
}

constexpr std::array kX87NoOperations = {ZYDIS_MNEMONIC_FDISI8087_NOP, ZYDIS_MNEMONIC_FENI8087_NOP,
                                         ZYDIS_MNEMONIC_FSETPM287_NOP};

NativeStub describe(const Decoded& decoded, const StubPlan& plan) {
  const ZydisDecodedInstruction& zydis = decoded.zydis;
  NativeStub stub;
  stub.needed = requirement_of(decoded, plan);
  stub.flags = plan.flags;
  stub.x87 = plan.x87;
  stub.sets_pointers = is_x87(zydis) && !contains(kX87NoOperations, zydis.mnemonic);
  if (stub.sets_pointers)
    stub.fop = static_cast<std::uint16_t>((zydis.opcode & 7U) << 8U | unsigned{zydis.raw.modrm.mod} << 6U |
                                          unsigned{zydis.raw.modrm.reg} << 3U | zydis.raw.modrm.rm);
  for (const ZydisDecodedOperand& operand : decoded.operands)
    if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY) describe_memory(decoded, operand, stub);
  return stub;
}

/// Stubs with equal keys behave alike. The decoder's view of the operands (sizes, which are masked) follows from the
/// relocated bytes; FOP does not.
std::string key_of(const MachineCode& code, const StubRegisters& registers, const NativeStub& stub) {
  std::string key(code.bytes.begin(), code.bytes.begin() + code.size);
  key.push_back(static_cast<char>(registers.stack_pointer));
  key.push_back(static_cast<char>(registers.memory));
  key.push_back(static_cast<char>(stub.fop & 0xff));
  return key;
}

}  // namespace

struct NativeStubs::Implementation {
  Result<CodeMemory> memory = CodeMemory::create(kCodeCapacity);
  std::unordered_map<std::string, NativeStub> stubs;  // whose elements do not move

  const NativeStub* find_or_make(const Decoded& decoded, const std::uint8_t* bytes);
};

const NativeStub* NativeStubs::Implementation::find_or_make(const Decoded& decoded, const std::uint8_t* bytes) {
  const StubPlan plan = plan_of(decoded);
  const StubRegisters registers = assign_registers(plan);
  const MachineCode code = relocate(decoded, bytes, registers);
  NativeStub stub = describe(decoded, plan);
  const std::string key = key_of(code, registers, stub);
  if (const auto found = stubs.find(key); found != stubs.end()) return &found->second;

  const StubCode emitted = emit_stub(plan, registers, code);
  const std::byte* const place = memory->append(emitted.bytes);
  if (place == nullptr) return nullptr;
  stub.function = reinterpret_cast<StubFunction>(reinterpret_cast<std::uintptr_t>(place));
  stub.guarded = {.instruction = reinterpret_cast<std::uintptr_t>(place) + emitted.instruction,
                  .resume = reinterpret_cast<std::uintptr_t>(place) + emitted.resume};
  return &stubs.emplace(key, stub).first->second;
}

NativeStubs::NativeStubs() : implementation_(std::make_unique<Implementation>()) {
  install_host_fault_handlers();
}
NativeStubs::~NativeStubs() = default;

Handler NativeStubs::select(const Decoded& decoded, const std::uint8_t* bytes, Instruction& instruction) {
  if (const Handler handler = select_unstubbed(decoded); handler != nullptr) return handler;
  if (!implementation_->memory || !is_supported(decoded)) return nullptr;
  if (const Handler gather = select_gather(decoded, instruction); gather != nullptr) return gather;
  const NativeStub* const stub = implementation_->find_or_make(decoded, bytes);
  if (stub == nullptr) return nullptr;
  instruction.stub = stub;
  if (stub->active == ActiveElements::kByteSignBits) {
    instruction.base = kDestination;
    instruction.index = kZeroRegister;
    instruction.disp = 0;
  }
  return stub_handler(*stub);
}

bool NativeStubs::wants_clear() const {
  return implementation_->memory && implementation_->memory->used() > kClearAt;
}

void NativeStubs::clear() {
  implementation_->stubs.clear();
  if (implementation_->memory) implementation_->memory->clear();
}

}  // namespace doppel::accel::soft
