# frozen_string_literal: true

require "rubygems/package"

RSpec.describe "An exported model in threads and processes", :folder do
  before(:context) do
    Exported.write("onnx_files", @folder)
    Photos::COLORS.each { |name, color| File.binwrite("#{@folder}/#{name}.png", png(color)) }
  end

  include Photos

  let(:model) { Transfer::Onnx.load("#{@folder}/classes.onnx") }
  let(:photos) { Photos::COLORS.keys.map { |name| "#{@folder}/#{name}.png" } }

  it "predicts the same in many threads" do
    expected = model.predict(photos)
    found = Array.new(8) { Thread.new { Array.new(20) { model.predict(photos.first) } + model.predict(photos) } }
    expect(found.map(&:value)).to all(eq([*[expected.first] * 20, *expected]))
  end

  it "releases Ruby's lock while a graph runs" do
    session = Exported.const_get(:Session).new(File.binread("#{@folder}/classes.onnx"))
    image = Exported.const_get(:Value).new(:uint8, [1, 3000, 3000, 3], "\1".b * 27_000_000)
    count = 0
    counter = Thread.new { loop { count += 1 } }
    others_ran = Array.new(20).any? do
      before = count
      session.run({ "image" => image }, ["probabilities"])
      count > before
    end
    expect(others_ran).to be(true)
  ensure
    counter&.kill&.join
  end

  it "predicts in a storm of forks, while threads of the parent predict" do
    expected = model.predict(photos)
    threads = Array.new(3) { Thread.new { loop { model.predict(photos) } } }
    children = Array.new(16) do |i|
      fork do
        same = model.predict(photos) == expected
        grandchild = fork { exit!(model.predict(photos) == expected ? 0 : 1) } if i.even?
        same &&= Process.wait2(grandchild).last.success? if grandchild
        exit!(same ? 0 : 1)
      end
    end
    expect(children.map { |pid| Process.wait2(pid).last.exitstatus }).to all(eq(0))
  ensure
    threads&.each(&:kill)&.each(&:join)
  end

  it "is refused in a forked process if its file has changed since" do
    FileUtils.cp("#{@folder}/classes.onnx", "#{@folder}/replaced.onnx")
    replaced = Transfer::Onnx.load("#{@folder}/replaced.onnx")
    predict = -> { replaced.predict(photos.first).label }
    expect([in_child(&predict), predict.call, in_child(&predict)]).to eq(%w[a a a])
    FileUtils.cp("#{@folder}/labels.onnx", "#{@folder}/replaced.onnx")
    expect(predict.call).to eq("a")
    message = in_child do
      predict.call
    rescue Transfer::ModelFileError => error
      error.message
    end
    expect(message).to match(/replaced.onnx has changed since it was loaded\. Fix: load it again/)
    expect(replaced.reload.predict(photos.first).labels).to eq(%w[a])
  end

  it "returns the memory of models that are no longer used" do
    resident = -> { File.read("/proc/self/status")[/VmRSS:\s+(\d+)/, 1].to_i / 1024 }
    large = Transfer::Onnx.load("#{@folder}/large.onnx")
    growth = in_child do
      5.times { large = large.reload }
      GC.start
      before = resident.call
      30.times do
        large = large.reload
        GC.start
      end
      resident.call - before
    end
    expect(growth).to be < 150 # 30 models of 16 MB
  end

  # The built gem in a process that can't find Python.
  describe "without Python" do
    before(:context) do
      root = File.expand_path("../..", __dir__)
      commands = [["gem", "build", "transfer-rb.gemspec", "--output", "#{@folder}/transfer-rb.gem"],
                  ["gem", "install", "--local", "--no-document", "--ignore-dependencies",
                   "--install-dir", "#{@folder}/gems", "#{@folder}/transfer-rb.gem"]]
      commands.each do |command|
        output, status = Open3.capture2e(*command, chdir: root)
        raise output unless status.success?
      end
      Dir.mkdir("#{@folder}/bin")
      File.symlink(RbConfig.ruby, "#{@folder}/bin/ruby")
    end

    def alone(*arguments)
      environment = { "PATH" => "#{@folder}/bin", "HOME" => @folder, "LANG" => "C.UTF-8",
                      "GEM_PATH" => ["#{@folder}/gems", *Gem.path].join(":"),
                      "TRANSFER_ONNXRUNTIME" => Exported.const_get(:Runtime).instance.path }
      Open3.capture3(environment, "#{@folder}/bin/ruby", *arguments, chdir: "/", unsetenv_others: true)
    end

    it "predicts" do
      out, err, = alone("-r", "transfer", "-e", <<~RUBY)
        p $LOADED_FEATURES.grep(/transfer\\.rb\\z/).first.start_with?("#{@folder}/gems")
        p Transfer.load("#{@folder}/classes.onnx").predict("#{@folder}/green.png").label
        begin
          Transfer::Python.command
        rescue Transfer::PythonNotFound
          p :none
        end
      RUBY
      expect([out, err]).to eq([%(true\n"b"\n:none\n), ""])
    end

    it "predicts from the command line" do
      command = "#{@folder}/gems/bin/transfer"
      out, err, status = alone(command, "predict", "#{@folder}/classes.onnx", "#{@folder}/blue.png", "--json")
      expect([err, status.exitstatus]).to eq(["", 0])
      expect(JSON.parse(out)).to include("label" => "c", "input" => "#{@folder}/blue.png")
    end

    it "loads the exported file beside a model, if it was exported from it" do
      entry = "the header"
      header = JSON.generate("__metadata__" => { "transfer" => entry })
      file = [header.bytesize].pack("Q<") + header
      %w[right wrong].each { |name| File.binwrite("#{@folder}/#{name}.transfer", file) }
      Exported.write("onnx_files", @folder, "right.onnx", OpenSSL::Digest::SHA256.hexdigest(entry))
      FileUtils.cp("#{@folder}/classes.onnx", "#{@folder}/wrong.onnx")
      out, = alone("-r", "transfer", "-e", <<~RUBY)
        %w[right wrong none].each do |name|
          puts Transfer.load("#{@folder}/\#{name}.transfer").path
        rescue Transfer::Error => error
          puts error.class, error.message
        end
      RUBY
      expect(out.lines(chomp: true)).to match(
        ["#{@folder}/right.onnx",
         "Transfer::ModelFileError", /wrong.onnx was not exported from .*wrong.transfer. Fix: export it again/,
         "Transfer::PythonNotFound", /found no Python.*model.export\("none.onnx"\), and put the file beside/]
      )
    end
  end
end
