# frozen_string_literal: true

require "digest"
require "logger"

RSpec.describe "Signed models with the real core", :end_to_end do
  include Keys

  before(:context) do
    @photos = photo_folder(File.join(@scratch, "photos"), count: 5)
    @model = Transfer.train(backbone: "mobilenet_v2", data: @photos, seed: 1)
    @key = key_pair(File.join(@scratch, "key"))
    @other = key_pair(File.join(@scratch, "other"))
  end

  before { FileUtils.rm_f([file, "#{file}.sig"]) }
  after { Transfer.config.require_signature = nil }

  let(:model) { @model }
  let(:key) { @key }
  let(:other) { @other }
  let(:red) { File.join(@photos, "red/0.png") }

  def file = File.join(@scratch, "m.transfer")

  def refused(pattern)
    raise_error(Transfer::SignatureError, pattern)
  end

  it "are saved, loaded and used, in a new worker, too" do
    model.save(file, sign: key.private)
    expect(signed?(file, key)).to be(true)
    loaded = Transfer.load(file, signed_by: [other.public, key.public])
    Transfer.shutdown
    expect(loaded.predict(red).label).to eq("red")
    expect(loaded.embed(red).size).to eq(1280)
    expect(loaded.evaluate(@photos)[:accuracy]).to be > 0.5
    copy = loaded.save("#{file}.copy")
    expect(File.exist?("#{copy}.sig")).to be(false)
    expect { Transfer.load(file, signed_by: other.public) }.to refused(/is signed with the key/)
    expect { Transfer.load(copy, signed_by: key.public) }.to refused(/is not signed/)
  end

  it "are refused by each call after the file was replaced" do
    model.save(file, sign: key.private)
    loaded = Transfer.load(file, signed_by: key.public)
    model.save(file, backbone: false, sign: other.private)
    Transfer.shutdown
    calls = [-> { loaded.predict(red) }, -> { loaded.embed(red) }, -> { loaded.evaluate(@photos) },
             -> { loaded.reload }, -> { loaded.save("#{file}.copy") }]
    calls.each { |call| expect(&call).to refused(/is signed with the key/) }
    model.save(file, sign: key.private)
    expect(loaded.reload.predict(red).label).to eq("red")
  end

  it "lose their signature if they are saved again without a key" do
    model.save(file, sign: key.private)
    model.save(file)
    expect(File.exist?("#{file}.sig")).to be(false)
    expect { Transfer.load(file, signed_by: key.public) }.to refused(/is not signed/)
  end

  it "are unchanged after an unusable key" do
    model.save(file, sign: key.private)
    before = [file, "#{file}.sig"].map { |path| Digest::SHA256.file(path) }
    expect { model.save(file, backbone: false, sign: key.public) }.to refused(/is a public key/)
    expect([file, "#{file}.sig"].map { |path| Digest::SHA256.file(path) }).to eq(before)
  end

  it "are required by the setting, except for models trained here" do
    model.save(file)
    unsigned = Transfer.load(file)
    Transfer.config.require_signature = key.public
    expect { Transfer.load(file) }.to refused(/is not signed/)
    expect { unsigned.predict(red) }.to refused(/is not signed/)
    expect { unsigned.reload }.to refused(/is not signed/)
    expect { Transfer.load(file, signed_by: other.public) }
      .to refused(/\Asigned_by has the key sha256:\h+, which is not among those of require_signature\. Fix: /)
    model.save(file, sign: key.private)
    expect(Transfer.load(file).predict(red).label).to eq("red")
    expect(Transfer.load(file, signed_by: key.public).labels).to eq(model.labels)
    expect(model.reload.labels).to eq(model.labels)
  end

  it "are verified for each client of a shared worker" do
    model.save(file)
    Transfer.shutdown
    Transfer.config.shared_worker = File.join(@scratch, "shared")
    expect(Transfer.load(file).predict(red).label).to eq("red")
    expect { Transfer.load(file, signed_by: key.public) }.to refused(/is not signed/)
  ensure
    Transfer.shutdown(shared: true)
    Transfer.config.shared_worker = false
  end

  it "need a package, whose installation the error names" do
    model.save(file, sign: key.private)
    Transfer.shutdown
    before = ENV.fetch("PYTHONPATH", nil)
    Dir.mktmpdir("transfer-spec") do |folder|
      File.write("#{folder}/cryptography.py", "raise ImportError")
      ENV["PYTHONPATH"] = folder
      expect { Transfer.load(file, signed_by: key.public) }.to raise_error(
        Transfer::DependencyError,
        "a signed model needs the package cryptography. " \
        "Fix: #{Transfer.config.python} -m pip install 'transfer-core[signing]'"
      )
      expect(Transfer.load(file).labels).to eq(model.labels)
    end
  ensure
    ENV["PYTHONPATH"] = before
    Transfer.shutdown
  end

  it "never send the private key to the worker" do
    log = StringIO.new
    Transfer.shutdown
    Transfer.config.debug = true
    Transfer.config.logger = Logger.new(log)
    model.save(file, sign: File.read(key.private))
    secret = File.read(key.private).lines[1]
    expect(log.string).to include("save")
    [secret[0, 16], secret.unpack1("m")[-32..], secret.unpack1("m")[-32..].inspect[1..16]]
      .each { |part| expect(log.string.b).not_to include(part.b) }
  ensure
    Transfer.config.debug = false
    Transfer.config.logger = nil
    Transfer.shutdown
  end
end
