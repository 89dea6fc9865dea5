package dwarf

// Numbers of the DWARF standard, version 5, section 7.5: tags (7.5.3),
// attributes (7.5.4) and forms (7.5.6), and the GNU forms of DWZ and of split
// DWARF before version 5. Only those that are used are listed.
const (
	tagArrayType        = 0x01
	tagClassType        = 0x02
	tagEnumerationType  = 0x04
	tagFormalParameter  = 0x05
	tagLexicalBlock     = 0x0b
	tagMember           = 0x0d
	tagPointerType      = 0x0f
	tagReferenceType    = 0x10
	tagCompileUnit      = 0x11
	tagStructureType    = 0x13
	tagSubroutineType   = 0x15
	tagTypedef          = 0x16
	tagUnionType        = 0x17
	tagUnspecifiedParam = 0x18
	tagInlined          = 0x1d
	tagSubrangeType     = 0x21
	tagBaseType         = 0x24
	tagConstType        = 0x26
	tagEnumerator       = 0x28
	tagSubprogram       = 0x2e
	tagVariable         = 0x34
	tagVolatileType     = 0x35
	tagRestrictType     = 0x37
	tagUnspecifiedType  = 0x3b
	tagPartialUnit      = 0x3c
	tagTypeUnit         = 0x41
	tagAtomicType       = 0x47
	tagSkeletonUnit     = 0x4a
)

const (
	attrSibling        = 0x01
	attrLocation       = 0x02
	attrName           = 0x03
	attrByteSize       = 0x0b
	attrBitOffset      = 0x0c
	attrBitSize        = 0x0d
	attrStmtList       = 0x10
	attrLowPC          = 0x11
	attrHighPC         = 0x12
	attrLanguage       = 0x13
	attrCompDir        = 0x1b
	attrConstValue     = 0x1c
	attrInline         = 0x20
	attrUpperBound     = 0x2f
	attrPrototyped     = 0x27
	attrAbstractOrigin = 0x31
	attrCount          = 0x37
	attrMemberLocation = 0x38
	attrDeclColumn     = 0x39
	attrDeclFile       = 0x3a
	attrDeclLine       = 0x3b
	attrDeclaration    = 0x3c
	attrEncoding       = 0x3e
	attrExternal       = 0x3f
	attrFrameBase      = 0x40
	attrSpecification  = 0x47
	attrType           = 0x49
	attrRanges         = 0x55
	attrCallFile       = 0x58
	attrCallLine       = 0x59
	attrSignature      = 0x69
	attrDataBitOffset  = 0x6b
	attrStrOffsetsBase = 0x72
	attrAddrBase       = 0x73
	attrRnglistsBase   = 0x74
	attrDwoName        = 0x76
	attrLoclistsBase   = 0x8c
	attrGNUDwoName     = 0x2130
	attrGNUDwoID       = 0x2131
	attrGNURangesBase  = 0x2132
	attrGNUAddrBase    = 0x2133
)

const (
	formAddr          = 0x01
	formBlock2        = 0x03
	formBlock4        = 0x04
	formData2         = 0x05
	formData4         = 0x06
	formData8         = 0x07
	formString        = 0x08
	formBlock         = 0x09
	formBlock1        = 0x0a
	formData1         = 0x0b
	formFlag          = 0x0c
	formSdata         = 0x0d
	formStrp          = 0x0e
	formUdata         = 0x0f
	formRefAddr       = 0x10
	formRef1          = 0x11
	formRef2          = 0x12
	formRef4          = 0x13
	formRef8          = 0x14
	formRefUdata      = 0x15
	formIndirect      = 0x16
	formSecOffset     = 0x17
	formExprloc       = 0x18
	formFlagPresent   = 0x19
	formStrx          = 0x1a
	formAddrx         = 0x1b
	formRefSup4       = 0x1c
	formStrpSup       = 0x1d
	formData16        = 0x1e
	formLineStrp      = 0x1f
	formRefSig8       = 0x20
	formImplicitConst = 0x21
	formLoclistx      = 0x22
	formRnglistx      = 0x23
	formRefSup8       = 0x24
	formStrx1         = 0x25
	formStrx2         = 0x26
	formStrx3         = 0x27
	formStrx4         = 0x28
	formAddrx1        = 0x29
	formAddrx2        = 0x2a
	formAddrx3        = 0x2b
	formAddrx4        = 0x2c
	formGNUAddrIndex  = 0x1f01
	formGNUStrIndex   = 0x1f02
	formGNURefAlt     = 0x1f20
	formGNUStrpAlt    = 0x1f21
)

// Unit types, DWARF 5 section 7.5.1.
const (
	utCompile      = 1
	utType         = 2
	utPartial      = 3
	utSkeleton     = 4
	utSplitCompile = 5
	utSplitType    = 6
)

const langRust = 0x1c

// Encodings of base types, DWARF 5 section 7.8.
const (
	encBoolean      = 0x02
	encFloat        = 0x04
	encSigned       = 0x05
	encSignedChar   = 0x06
	encUnsigned     = 0x07
	encUnsignedChar = 0x08
	encUTF          = 0x10
)
