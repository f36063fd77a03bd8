# frozen_string_literal: true

require "json"
require "openssl"
require "tmpdir"

RSpec.describe "Signatures" do
  include Keys

  before(:context) do
    @folder = Dir.mktmpdir("transfer-spec")
    @key = key_pair("#{@folder}/key")
    @other = key_pair("#{@folder}/other")
  end

  after(:context) { FileUtils.rm_rf(@folder) }

  around do |example|
    Dir.mktmpdir("transfer-spec") do |folder|
      @model = File.join(folder, "m.transfer")
      File.binwrite(@model, Random.new(1).bytes(10_000))
      example.run
    end
  end

  let(:key) { @key }
  let(:other) { @other }
  let(:model) { @model }
  let(:signature) { Transfer.const_get(:Signature) }
  let(:keys) { signature::Keys }

  def sign(pair = key) = signature.sign(model, keys.private(pair.private))

  def verify(*pairs) = signature.verify(model, keys.public(pairs.map(&:public)))

  # Python, on its own.
  def python(code, *arguments)
    core = "import sys; from hashlib import sha512; from pathlib import Path\n" \
           "from transfer_core.model_file.signature import private_key, required_keys, sign_digest\n" \
           "from transfer_core.model_file.signature import verify_signature\n" \
           "from transfer_core.model_file.signature.detached import parse\n" \
           "from transfer_core.runtime.errors import SignatureError\n"
    command({ "PYTHONPATH" => "python" }, ENV.fetch("TRANSFER_PYTHON"), "-c", core + code, *arguments)
  end

  it "are accepted by openssl and by Python" do
    expect(sign).to eq("#{model}.sig")
    expect([signed?(model, key), signed?(model, other)]).to eq([true, false])
    python("verify_signature(Path(sys.argv[1]).read_bytes(), sys.argv[1], required_keys(sys.argv[2]))", model,
           key.public)
    expect(Dir.children(File.dirname(model))).to contain_exactly("m.transfer", "m.transfer.sig")
  end

  it "are the same as Python's, which are accepted here" do
    python("path = sys.argv[1]; digest = sha512(Path(path).read_bytes()).hexdigest()\n" \
           "sign_digest(path, digest, private_key(sys.argv[2]))", model, key.private)
    theirs = File.read("#{model}.sig")
    expect(verify(other, key)).to eq(keys.public(key.public).first)
    sign
    expect(File.read("#{model}.sig")).to eq(theirs)
  end

  it "are refused for another key, another model, a changed byte, and where there is none" do
    expect { verify(key) }.to raise_error(
      Transfer::SignatureError,
      "#{model} is not signed: there is no file #{model}.sig. Fix: transfer sign #{model} --key KEY.pem"
    )
    sign
    expect { verify(other) }.to raise_error(Transfer::SignatureError, /is signed with the key sha256:\h{64}, expected/)
    File.open(model, "r+b") { |file| file.write("x") }
    expect { verify(key) }.to raise_error(Transfer::SignatureError, /does not match/)
    File.delete(model)
    expect { verify(key) }.to raise_error(Transfer::ModelFileError, "there is no file #{model}")
  end

  it "are parsed as Python parses them" do
    sign
    good = File.binread("#{model}.sig")
    random = Random.new(4)
    texts = Array.new(300) do
      text = good.dup
      random.rand(1..2).times { text.setbyte(random.rand(text.bytesize), random.rand(256)) }
      random.rand < 0.2 ? text.byteslice(0, random.rand(text.bytesize)) : text
    end
    texts += [good, "#{good}\n", good + ("x" * 512), "", "transfer-signature: 2\n",
              good.sub("ed25519", "rsa"), good.gsub("\n", "\r\n"), good.sub("==", "=")]
    File.write("#{model}.json", texts.map { |text| [text].pack("m0") }.to_json)
    theirs = JSON.parse(python(<<~PYTHON, "#{model}.json"))
      import base64, json
      def outcome(text):
          try:
              found = parse(text, "m.sig")
              return [found.key, base64.b64encode(found.value).decode()]
          except SignatureError as error:
              return str(error)
      texts = json.loads(Path(sys.argv[1]).read_text())
      print(json.dumps([outcome(base64.b64decode(text)) for text in texts]))
    PYTHON
    ours = texts.map do |text|
      signer, bytes = signature::Text.parse(text, "m.sig")
      [signer, [bytes].pack("m0")]
    rescue Transfer::SignatureError => error
      error.message
    end
    expect(ours).to eq(theirs)
    expect(ours.count { |outcome| outcome.is_a?(Array) }).to be_between(1, 200)
  end

  describe "keys" do
    it "are paths, text or objects" do
      pem = File.read(key.public)
      object = OpenSSL::PKey.read(pem)
      kinds = [key.public, Pathname(key.public), pem, "\n#{pem}", object, [object, pem]]
      expect(kinds.map { |kind| keys.public(kind) }.uniq).to eq([keys.public(key.public)])
      expect(keys.public("#{key.public}:#{other.public}")).to eq(keys.public([key.public, other.public]))
      kinds = [key.private, Pathname(key.private), File.read(key.private), OpenSSL::PKey.read(File.read(key.private))]
      expect(kinds.map { |kind| keys.of(keys.private(kind)) }.uniq).to eq(keys.public(key.public))
    end

    it "have the SHA-256 of their DER as fingerprint" do
      der = command("openssl", "pkey", "-pubin", "-in", key.public, "-outform", "DER", binmode: true)
      expect(keys.public(key.public).first.fingerprint).to eq("sha256:#{Digest::SHA256.hexdigest(der)}")
    end

    it "may be OpenSSH public keys" do
      command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "#{File.dirname(model)}/id")
      path = "#{File.dirname(model)}/id.pub"
      theirs = python("print(next(iter(required_keys(sys.argv[1]))).hex())", path).chomp
      expect([path, File.read(path)].map { |kind| keys.public(kind).first.bytes.unpack1("H*") }).to eq([theirs] * 2)
      ["", "%%", "AAAA", "AAAAC3NzaC1lZDI1NTE5AAAAIA=="].each do |content|
        expect { keys.public("ssh-ed25519 #{content}") }
          .to raise_error(Transfer::SignatureError, "the given key is a damaged OpenSSH public key")
      end
      expect { keys.public("ssh-rsa AAAA") }.to raise_error(Transfer::SignatureError, /is a key of type ssh-rsa/)
    end

    { "rsa" => ["rsaEncryption", "-pkeyopt", "rsa_keygen_bits:2048"],
      "ec" => ["id-ecPublicKey", "-pkeyopt", "ec_paramgen_curve:P-256"],
      "x25519" => ["X25519"], "ed448" => ["ED448"] }.each do |algorithm, (kind, *options)|
      it "of the algorithm #{algorithm} are refused" do
        pair = key_pair("#{File.dirname(model)}/#{algorithm}", *options, algorithm:)
        { public: pair.public, private: pair.private }.each do |half, path|
          expect { keys.public_send(half, path) }.to raise_error(
            Transfer::SignatureError, "#{path} is a key of type #{kind}, expected an Ed25519 key. " \
                                      "Fix: create a key with transfer keygen"
          )
        end
        expect { keys.public(OpenSSL::PKey.read(File.read(pair.public))) }
          .to raise_error(Transfer::SignatureError, /\Athe given key is a key of type #{kind}/)
      end
    end

    it "must be the right half" do
      expect do
        keys.public(key.private)
      end.to raise_error(Transfer::SignatureError, /is a private key, expected the public/)
      expect do
        keys.private(key.public)
      end.to raise_error(Transfer::SignatureError, /is a public key, expected the private/)
    end

    it "may be encrypted, if their passphrase is known" do
      path = "#{File.dirname(model)}/encrypted.pem"
      command("openssl", "pkcs8", "-topk8", "-in", key.private, "-out", path, "-passout", "pass:secret")
      expect(keys.of(keys.private(path) { |name| name == path ? "secret" : "" })).to eq(keys.public(key.public).first)
      expect { keys.private(path) }.to raise_error(Transfer::SignatureError, /\A#{path} is encrypted\. Fix: /)
      expect { keys.private(path) { "wrong" } }.to raise_error(Transfer::SignatureError, /its passphrase is wrong/)
    end

    it "must be readable, and keys" do
      folder = File.dirname(model)
      expect { keys.public("#{folder}/none") }
        .to raise_error(Transfer::SignatureError, "can't read the key #{folder}/none: No such file or directory")
      expect { keys.public(folder) }.to raise_error(Transfer::SignatureError, /Is a directory/)
      expect { keys.public(model) }.to raise_error(Transfer::SignatureError, /is not a public key/)
      expect { keys.private(model) }.to raise_error(Transfer::SignatureError, /is not a private key/)
      expect { keys.public(5) }.to raise_error(Transfer::SignatureError, /got Integer/)
      [[], "", false].each { |nothing| expect { keys.public(nothing) }.to raise_error(Transfer::SignatureError) }
    end

    it "stand in no error" do
      pem = File.read(key.private)
      secret = pem.lines[1][20, 20]
      config = Transfer::Configuration.new({})
      tries = [-> { keys.public(pem) }, -> { keys.private(pem.sub("MC4C", "AAAA")) }, -> { keys.private(pem[0..-30]) },
               -> { keys.public(pem.gsub("PRIVATE", "PUBLIC")) }, -> { config.require_signature = pem },
               -> { Transfer::Configuration.new({ "TRANSFER_REQUIRE_SIGNATURE" => pem }) }]
      tries.each do |try|
        expect(&try).to raise_error(Transfer::Error) { |error| expect(error.full_message).not_to include(secret) }
      end
      expect(keys.private(key.private).inspect).not_to include(secret)
    end
  end

  describe "the setting require_signature" do
    let(:config) { Transfer::Configuration.new({}) }

    it "is a key or several, as in the environment" do
      expect(config.require_signature).to be_nil
      config.require_signature = [File.read(key.public), other.public]
      expect(config.require_signature).to eq(keys.public([key.public, other.public]))
      env = { "TRANSFER_REQUIRE_SIGNATURE" => "#{key.public}:#{other.public}" }
      expect(Transfer::Configuration.new(env).require_signature).to eq(config.require_signature)
      config.require_signature = nil
      expect(config.require_signature).to be_nil
    end

    it "is never no key at all" do
      [[], ":", "/nowhere.pem", false].each do |said|
        expect { config.require_signature = said }.to raise_error(Transfer::ConfigurationError, /\Arequire_signature: /)
      end
      expect { Transfer::Configuration.new({ "TRANSFER_REQUIRE_SIGNATURE" => "/nowhere.pem" }) }.to raise_error(
        Transfer::ConfigurationError,
        "TRANSFER_REQUIRE_SIGNATURE: can't read the key /nowhere.pem: No such file or directory"
      )
    end
  end

  it "fail to be written with a clear error, and leave nothing" do
    Dir.mkdir("#{model}.sig")
    expect do
      sign
    end.to raise_error(Transfer::ConfigurationError, "can't save to #{model}.sig: Is a directory")
    expect(Dir.children(File.dirname(model))).to contain_exactly("m.transfer", "m.transfer.sig")
    expect { verify(key) }.to raise_error(Transfer::ModelFileError, "#{model}.sig is not a regular file")
  end

  it "of a pipe are refused without waiting" do
    File.delete(model)
    File.mkfifo(model)
    expect { sign }.to raise_error(Transfer::ModelFileError, "#{model} is not a regular file")
  end
end
