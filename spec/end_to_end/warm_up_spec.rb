# frozen_string_literal: true

require "logger"
require "stringio"

RSpec.describe "Transfer.warm_up", :end_to_end do
  before { Transfer.shutdown }
  after { Transfer.config.logger = nil }

  def workers = Transfer.stats[:workers].values.sum { |role| role[:processes].size }

  it "starts the worker before the first call" do
    expect(workers).to eq(0)
    thread = Transfer.warm_up
    expect(thread).to be_a(Thread)
    thread.join
    expect(workers).to eq(1)
  end

  it "loads a model, given as path or Model" do
    photos = photo_folder(File.join(@scratch, "photos"), count: 5)
    model = Transfer.train(backbone: "mobilenet_v2", data: photos, seed: 1)
    [model, model.path, model.path.to_s].each do |given|
      Transfer.shutdown
      Transfer.warm_up(given).join
      serving = Transfer.stats[:workers].values.flat_map { |role| role[:processes] }.filter_map { |one| one[:serving] }
      expect(serving.first[:models][:count]).to eq(1)
    end
    expect(model.predict(File.join(photos, "red/0.png")).label).to eq("red")
  end

  it "logs a failure, which the next call raises" do
    Transfer.config.logger = Logger.new(log = StringIO.new)
    Transfer.warm_up("nowhere.transfer").join
    expect(log.string).to match(/WARN.* warm-up failed: there is no file .*nowhere\.transfer/)
    expect { Transfer.load("nowhere.transfer") }.to raise_error(Transfer::ModelFileError)
  end
end
