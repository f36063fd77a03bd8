# frozen_string_literal: true

require "fileutils"
require "json"

RSpec.describe "transfer doctor", :home do
  include Keys

  it "passes all checks" do
    out, err, status = transfer("doctor")
    expect([err, status]).to eq(["", 0])
    expect(out).to match(/\Aok  interpreter +.*^ok  torch  .*^ok  device  /m)
    expect(out.lines).to all(start_with("ok  "))
    expect(out).to match(/^ok  exported models: libonnxruntime +[\d.]+, .*^ok  exported models: libwebp  /m)
  end

  it "prints the fix of a failed check" do
    out, err, status = executable("doctor", TRANSFER_PYTHON: nil, TRANSFER_HOME: @home, PATH: "/nowhere",
                                            VIRTUAL_ENV: nil, RUBYOPT: "-r#{no_checkout}")
    expect([err, status]).to eq(["", 4])
    expect(out).to match(/\AFAIL  interpreter +found no Python .*\nFix for interpreter: transfer setup\n\z/m)
    expect(out).to include("ok    exported models: libturbojpeg")
  end

  def environment(**note)
    FileUtils.mkdir_p("#{@home}/env/bin")
    File.write("#{@home}/env/bin/python", "#!/bin/sh\nexec #{ENV.fetch('TRANSFER_PYTHON')} \"$@\"\n")
    File.chmod(0o755, "#{@home}/env/bin/python")
    File.write("#{@home}/env/transfer-setup.json", JSON.generate(note))
  end

  it "compares the environment with the options of setup and the settings" do
    environment(gem_version: Transfer::VERSION, torch: "9.9", extras: ["timm"])
    key = key_pair("#{@home}/key").public
    out, = executable("doctor", "--json", TRANSFER_PYTHON: nil, TRANSFER_HOME: @home,
                                          TRANSFER_REQUIRE_SIGNATURE: key)
    checks = JSON.parse(out).to_h { |check| [check["name"], check.values_at("ok", "remedy")] }
    expect(checks).to include("torch build" => [false, "transfer setup --force --cuda 9.9"],
                              "extra timm" => [true, nil], "extra signing" => [true, nil])
    out, = executable("doctor", "--json")
    expect(JSON.parse(out).map { |check| check["name"] }.grep(/extra|build/)).to eq([])
  end

  it "reports an environment of another version" do
    environment(gem_version: "0.0.9")
    out, _, status = executable("doctor", "--json", TRANSFER_PYTHON: nil, TRANSFER_HOME: @home)
    expect([JSON.parse(out)[1], status]).to eq(
      [{ "name" => "environment", "ok" => false,
         "detail" => "created by version 0.0.9, this is version #{Transfer::VERSION}",
         "remedy" => "transfer setup" }, 4]
    )
  end

  # Ruby code that hides the .venv of this checkout.
  def no_checkout
    "#{@home}/no_checkout.rb".tap do |file|
      File.write(file, <<~RUBY)
        require "transfer"
        Transfer::Python.singleton_class.define_method(:checkout) { Transfer::Python::Candidate.new("checkout", nil, "hidden") }
      RUBY
    end
  end
end
