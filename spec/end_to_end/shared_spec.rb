# frozen_string_literal: true

RSpec.describe "A shared worker with the real core", :end_to_end do
  before(:context) do
    @photos = photo_folder(File.join(@scratch, "photos"), count: 8)
    @model = Transfer.train(backbone: "mobilenet_v2", data: @photos, seed: 1)
    @expected = @model.predict(red)
    Transfer.shutdown
    Transfer.config.shared_worker = folder
  end

  after(:context) do
    Transfer.shutdown(shared: true)
    Transfer.config.shared_worker = false
  end

  before { Transfer.shutdown }

  let(:model) { @model }
  let(:workers) { -> { Sharing.workers(folder) } }

  def folder = File.join(@scratch, "shared")

  def red = File.join(@photos, "red/0.png")

  def in_children(count)
    Array.new(count) { Thread.new { in_child { yield.tap { Transfer.shutdown } } } }.map(&:value)
  end

  it "returns the same predictions as local workers" do
    told = in_children(4) { Array.new(3) { model.predict(red) } }.flatten
    expect(told.map(&:label).uniq).to eq(["red"])
    told.each { |each| expect(each.scores["red"]).to be_within(1e-4).of(@expected.scores["red"]) }
    expect(model.predict([red] * 3).map(&:label)).to eq(["red"] * 3)
    expect(workers.call.size).to eq(1)
    expect(Transfer.stats.dig(:workers, :train, :processes)).to eq([])
  end

  it "embeds, describes, saves and lists; evaluation and training use local workers" do
    expect(model.embed([red] * 60).map(&:size)).to eq([1280] * 60)
    expect(Transfer.load(model.save(File.join(@scratch, "saved.transfer"))).labels).to eq(model.labels)
    expect(Transfer.backbones.map(&:name)).to include("mobilenet_v2")
    expect(Leaks.children).to eq([])
    Transfer.shutdown # so that no connection to the shared one is open
    expect(model.evaluate(@photos)[:accuracy]).to be > 0.9
    expect(Leaks.children.size).to eq(1)
    expect { model.predict(red) }.not_to(change { Transfer.stats.dig(:workers, :train, :processes, 0, :calls) })
    expect(workers.call.size).to eq(1)
  end

  it "is separate for another version of the gem" do
    expect(model.predict(red).label).to eq("red")
    before = workers.call
    code = <<~RUBY
      Transfer.send(:remove_const, :VERSION)
      Transfer::VERSION = "9.9.9"
      Transfer.config.home = #{Transfer.config.home.inspect}
      Transfer.config.shared_worker = #{folder.inspect}
      puts Transfer.load(#{model.path.to_s.inspect}).predict(#{red.inspect}).label
      Transfer.shutdown(shared: true) if ARGV.any?
    RUBY
    newer = ->(*words) { Open3.capture2(RbConfig.ruby, "-I", Scripts::LIB, "-rtransfer", "-e", code, *words).first }
    expect(newer.call).to eq("red\n")
    expect(workers.call.size).to eq(before.size + 1)
    expect(model.predict(red).label).to eq("red")
    expect(newer.call("end")).to eq("red\n")
    expect(workers.call).to eq(before)
  end

  it "ends at Transfer.shutdown(shared: true), also while suspended, but not at Transfer.shutdown" do
    model.predict(red)
    Transfer.shutdown
    expect(workers.call.size).to eq(1)
    Process.kill(:STOP, *workers.call)
    stub_const("#{bridge}::Shared::PATIENCE", { "TERM" => 0.2, "KILL" => 2 })
    Transfer.shutdown(shared: true)
    expect(workers.call).to eq([])
    expect(model.predict(red).label).to eq("red")
    Transfer.shutdown(shared: true)
    expect([workers.call, Dir.children(folder)]).to eq([[], []])
    expect { Transfer.shutdown(shared: true) }.not_to raise_error
  end
end
