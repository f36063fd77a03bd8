# frozen_string_literal: true

require "fileutils"
require "open3"

# Ed25519 keys by the command openssl.
module Keys
  Pair = Struct.new(:private, :public)

  # @return [Pair] paths of PEM files
  def key_pair(folder, *options, algorithm: "ed25519")
    FileUtils.mkdir_p(folder)
    pair = Pair.new(File.join(folder, "key.pem"), File.join(folder, "key.pub.pem"))
    command("openssl", "genpkey", "-algorithm", algorithm, *options, "-out", pair.private)
    command("openssl", "pkey", "-in", pair.private, "-pubout", "-out", pair.public)
    pair
  end

  # @return [String] standard output
  def command(*words, **)
    out, err, status = Open3.capture3(*words, **)
    raise "#{words.join(' ')}: #{err}" unless status.success?

    out
  end

  # Whether openssl accepts the signature of a model, by the description of the format.
  def signed?(model, pair)
    Dir.mktmpdir do |folder|
      File.write("#{folder}/message", "transfer-rb model signature 1\n#{Digest::SHA512.file(model).hexdigest}\n")
      File.binwrite("#{folder}/signature", File.read("#{model}.sig")[/^signature: (.*)$/, 1].unpack1("m"))
      _, status = Open3.capture2e("openssl", "pkeyutl", "-verify", "-pubin", "-inkey", pair.public, "-rawin",
                                  "-in", "#{folder}/message", "-sigfile", "#{folder}/signature")
      status.success?
    end
  end
end
