# frozen_string_literal: true

require "io/console"
require "json"
require "pty"
require "tmpdir"

RSpec.describe "Signatures on the command line" do
  include Keys

  around do |example|
    Dir.mktmpdir("transfer-spec") { |folder| Dir.chdir(folder) { example.run } }
  end

  before { File.binwrite("m.transfer", "content") }

  # The command, with a terminal; types the answer when it is asked for one.
  # @return [String] what the terminal showed
  def in_terminal(*argv, answer:)
    root = File.expand_path("..", __dir__)
    output, input, pid = PTY.spawn(RbConfig.ruby, "-I", "#{root}/gem/lib", "#{root}/gem/exe/transfer", *argv)
    shown = +""
    shown << output.readpartial(1000) until shown.include?("pem: ")
    input.puts(answer)
    loop { shown << output.readpartial(1000) }
  rescue EOFError, Errno::EIO # the end of a terminal
    shown
  ensure
    [output, input].each(&:close)
    Process.wait(pid)
  end

  let(:fingerprint) { /sha256:\h{64}/ }

  it "creates keys that openssl reads, and never overwrites one" do
    out, err, status = transfer("keygen", "release")
    expect([err, status]).to eq(["", 0])
    expect(out).to match(/^private key +release\.pem, keep it secret$.*^fingerprint +#{fingerprint}$/m)
    expect(%w[release.pem release.pub.pem].map { |file| File.stat(file).mode & 0o777 }).to eq([0o600, 0o644])
    expect(command("openssl", "pkey", "-in", "release.pem", "-pubout")).to eq(File.read("release.pub.pem"))
    before = File.read("release.pem")
    expect(transfer("keygen", "release").last(2))
      .to eq(["transfer: release.pem exists already. Fix: choose another name, or delete it\n", 4])
    File.delete("release.pem")
    expect(transfer("keygen", "release")[1]).to start_with("transfer: release.pub.pem exists already.")
    expect(File.exist?("release.pem")).to be(false)
    transfer("keygen", "other")
    expect(File.read("other.pem")).not_to eq(before)
    expect(transfer("keygen", "no/where").last(2))
      .to eq(["transfer: can't write the key no/where.pem: No such file or directory\n", 4])
  end

  it "signs and verifies, without Python" do
    transfer("keygen", "release")
    out, err, status = transfer("sign", "m.transfer", "--key", "release.pem")
    expect([out, err, status]).to match([/\Am\.transfer\.sig: signature by #{fingerprint}\n\z/, "", 0])
    out, err, status = transfer("verify", "m.transfer", "--key", "release.pub.pem")
    expect([out, err, status]).to match([/\Am\.transfer: valid signature by #{fingerprint}\n\z/, "", 0])
    json = JSON.parse(transfer("verify", "m.transfer", "--key", "release.pub.pem", "--json").first)
    expect(json).to match({ "file" => "m.transfer", "key" => fingerprint })
    File.binwrite("m.transfer", "other content")
    out, err, status = transfer("verify", "m.transfer", "--key", "release.pub.pem")
    expect([out, err, status]).to match(["", /\Atransfer: m\.transfer\.sig does not match m\.transfer: /, 3])
    out, _, status = executable("verify", "#{Dir.pwd}/m.transfer",
                                TRANSFER_REQUIRE_SIGNATURE: "#{Dir.pwd}/release.pub.pem")
    expect([out, status]).to eq(["", 3])
  end

  it "names a missing key or file" do
    transfer("keygen", "release")
    expect(transfer("verify", "m.transfer")[1..]).to match([/give the public key with --key/, 2])
    expect(transfer("sign", "m.transfer")[1..]).to match([/--key/, 2])
    expect(transfer("sign", "none", "--key", "release.pem")[1..]).to eq(["transfer: there is no file none\n", 3])
    expect(transfer("train", "photos", "--sign", "release.pem")[1..]).to match([/--sign needs --save FILE/, 2])
    expect(transfer("train", "photos", "--save", "n.transfer", "--sign", "release.pub.pem")[1..])
      .to match([/is a public key, expected the private one/, 3])
    expect(transfer("resume", "20200101-000000-000000", "--sign",
                    "release.pem")[1..]).to match([/--sign needs --save/, 2])
  end

  it "reads the passphrase of an encrypted key from the terminal" do
    transfer("keygen", "release")
    command("openssl", "pkcs8", "-topk8", "-in", "release.pem", "-out", "encrypted.pem", "-passout", "pass:opensesame")
    expect(transfer("sign", "m.transfer", "--key", "encrypted.pem")[1..])
      .to match([/encrypted\.pem is encrypted\. Fix: give its passphrase on a terminal/, 3])
    shown = in_terminal("sign", "m.transfer", "--key", "encrypted.pem", answer: "opensesame")
    expect(shown).to match(/Passphrase of .*encrypted\.pem: .*signature by #{fingerprint}/m)
    expect(shown).not_to include("opensesame")
    expect(transfer("verify", "m.transfer", "--key", "release.pub.pem").last).to eq(0)
  end

  it "trains, signs and uses a model" do
    photos = photo_folder("#{Dir.pwd}/photos", count: 5)
    transfer("keygen", "release")
    transfer("keygen", "other")
    out, err, status = transfer("train", photos, "--save", "signs.transfer", "--sign", "release.pem")
    expect([err, status]).to eq(["", 0]), out
    expect(transfer("verify", "signs.transfer", "--key", "release.pub.pem").last).to eq(0)
    uses = [["info", "signs.transfer"], ["predict", "signs.transfer", "photos/red/0.png"],
            ["embed", "signs.transfer", "photos/red/0.png", "--json"], ["evaluate", "signs.transfer", photos]]
    uses.each do |use|
      expect(transfer(*use, "--signed-by", "release.pub.pem")[1..]).to eq(["", 0])
      out, err, status = transfer(*use, "--signed-by", "other.pub.pem")
      expect([out + err, status]).to match([/is signed with the key/, 3])
    end
    Transfer.config.require_signature = "other.pub.pem"
    expect(transfer("info", "signs.transfer")[1..]).to match([/is signed with the key/, 3])
  ensure
    Transfer.config.require_signature = nil
  end
end
